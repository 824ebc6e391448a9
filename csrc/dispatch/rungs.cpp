// Compiles kernels for one ISA level, in the namespace LOOPNEST_ISA.
//
// The build makes unit.hpp from rungs.def (CMakeLists.txt): the headers of some rungs, and their lines as
// LOOPNEST_RUNGS.
#include "unit.hpp"

#include "dispatch/table.hpp"

#define RUNG(operation, Signature, variant, compiled, simulated, header) \
    extern const Kernel<Signature##Fn> operation##_##variant;           \
    const Kernel<Signature##Fn> operation##_##variant = {operation::variant<float>, operation::variant<double>};

namespace loopnest::LOOPNEST_ISA {
LOOPNEST_RUNGS
}  // namespace loopnest::LOOPNEST_ISA
