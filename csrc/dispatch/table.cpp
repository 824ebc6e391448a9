// The table of one ISA level, LOOPNEST_LEVEL: it collects the kernels that rungs.cpp compiles.
#include "dispatch/table.hpp"

#define JOINED(level, suffix) level##suffix
#define WITH_SUFFIX(level, suffix) JOINED(level, suffix)
#define NAMESPACE_vector LOOPNEST_LEVEL
#define NAMESPACE_scalar WITH_SUFFIX(LOOPNEST_LEVEL, _scalar)

#define RUNG(operation, Signature, variant, compiled, simulated, header) \
    namespace loopnest::NAMESPACE_##compiled { extern const Kernel<Signature##Fn> operation##_##variant; }
#define REDUCED(operation, Signature, variant, compiled, simulated, header) \
    namespace loopnest::NAMESPACE_##compiled { extern const ReducedKernel<Signature##Fn> operation##_##variant; }
#include "rungs.def"

namespace loopnest::LOOPNEST_LEVEL {
namespace {

constexpr Rung rungs[] = {
#define RUNG(operation, Signature, variant, compiled, simulated, header) \
    {#operation, #variant, &signature_id<Signature##Fn>, &NAMESPACE_##compiled::operation##_##variant},
#include "rungs.def"
};

constexpr ReducedRung reduced_rungs[] = {
#define RUNG(operation, Signature, variant, compiled, simulated, header)
#define REDUCED(operation, Signature, variant, compiled, simulated, header) \
    {#operation, #variant, &reduced_signature_id<Signature##Fn>, &NAMESPACE_##compiled::operation##_##variant},
#include "rungs.def"
};

}  // namespace

extern const Table table;
constexpr Table table = rungs;
extern const ReducedTable reduced_table;
constexpr ReducedTable reduced_table = reduced_rungs;

}  // namespace loopnest::LOOPNEST_LEVEL
