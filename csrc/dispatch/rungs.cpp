// Compiles kernels for one ISA level, in the namespace LOOPNEST_ISA.
//
// The build makes unit.hpp from rungs.def (CMakeLists.txt): the headers of some rungs, and their lines as
// LOOPNEST_RUNGS.
#include "unit.hpp"

#include "dispatch/table.hpp"

#define RUNG(operation, Signature, variant, compiled, simulated, header) \
    extern const Kernel<Signature##Fn> operation##_##variant;           \
    const Kernel<Signature##Fn> operation##_##variant = {operation::variant<float>, operation::variant<double>};

// The function for elements T and results R, or null.
#define INSTANCE(name, T, R)                                                                              \
    []<class Element, class Result>() -> ReducedFn<Element, Result> {                                     \
        if constexpr (requires(Matrix<const Element> x, Matrix<Result> y) { name<Element, Result>(x, x, y); }) \
            return name<Element, Result>;                                                                 \
        else                                                                                              \
            return nullptr;                                                                               \
    }.template operator()<T, R>()
#define REDUCED(operation, Signature, variant, compiled, simulated, header)                               \
    extern const ReducedKernel operation##_##variant;                                                     \
    const ReducedKernel operation##_##variant = {                                                         \
        INSTANCE(operation::variant, bfloat16, float), INSTANCE(operation::variant, bfloat16, bfloat16),  \
        INSTANCE(operation::variant, float16, float), INSTANCE(operation::variant, float16, float16),     \
        INSTANCE(operation::variant, std::int8_t, std::int32_t)};

namespace loopnest::LOOPNEST_ISA {
LOOPNEST_RUNGS
}  // namespace loopnest::LOOPNEST_ISA
