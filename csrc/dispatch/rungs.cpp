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

// Whether a kernel of this signature may make results R of elements T: a product makes sums, rounded or not.
template <template <class, class> class Fn, class T, class R>
inline constexpr bool makes = !std::is_same_v<Fn<T, R>, ReducedFn<T, R>> || std::is_same_v<R, T> ||
                              std::is_same_v<R, Sum<T>>;

}  // namespace loopnest::LOOPNEST_ISA

// The function for elements T and results R, or null.
#define INSTANCE(Fn, name, T, R)                                                                             \
    []<class Element, class Result>() -> Fn<Element, Result> {                                               \
        if constexpr (makes<Fn, Element, Result> &&                                                          \
                      requires(Fn<Element, Result> any) { any = name<Element, Result>; })                    \
            return name<Element, Result>;                                                                    \
        else                                                                                                 \
            return nullptr;                                                                                  \
    }.template operator()<T, R>()
#define REDUCED(operation, Signature, variant, compiled, simulated, header)                                  \
    extern const ReducedKernel<Signature##Fn> operation##_##variant;                                         \
    const ReducedKernel<Signature##Fn> operation##_##variant = {                                             \
        INSTANCE(Signature##Fn, operation::variant, bfloat16, float),                                        \
        INSTANCE(Signature##Fn, operation::variant, bfloat16, bfloat16),                                     \
        INSTANCE(Signature##Fn, operation::variant, float16, float),                                         \
        INSTANCE(Signature##Fn, operation::variant, float16, float16),                                       \
        INSTANCE(Signature##Fn, operation::variant, std::int8_t, std::int32_t),                              \
        INSTANCE(Signature##Fn, operation::variant, std::int8_t, float)};

namespace loopnest::LOOPNEST_ISA {
LOOPNEST_RUNGS
}  // namespace loopnest::LOOPNEST_ISA
