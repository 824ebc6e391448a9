// The rungs that the cache simulator runs, compiled once for each ISA level's vectors, all with the baseline's
// instructions.
//
// The build makes unit.hpp from rungs.def: the lines that name where the simulator finds a kernel's local variables.
// traced.hpp comes before the rungs, so that they find its loads and stores.
#include "measure/traced.hpp"
#include "unit.hpp"

namespace loopnest::LOOPNEST_ISA {
namespace {

using Element = Traced<float>;
static_assert(sizeof(Element) == sizeof(float));

Matrix<Element> traced(const Matrix<float>& x) {
    return {reinterpret_cast<Element*>(x.data), x.rows, x.cols, x.row_stride, x.col_stride};
}

template <void (*kernel)(Matrix<const Element>, Matrix<Element>)>
void run(const Matrix<float>* x, Blocks) {
    kernel(traced(x[0]), traced(x[1]));
}
template <void (*kernel)(Matrix<const Element>, Matrix<const Element>, Matrix<Element>)>
void run(const Matrix<float>* x, Blocks) {
    kernel(traced(x[0]), traced(x[1]), traced(x[2]));
}
template <void (*kernel)(Matrix<const Element>, Matrix<const Element>, Matrix<Element>, index, index, index)>
void run(const Matrix<float>* x, Blocks blocks) {
    kernel(traced(x[0]), traced(x[1]), traced(x[2]), blocks.rows, blocks.inner, blocks.cols);
}
template <void (*kernel)(Matrix<const Element>, Element*)>
void run(const Matrix<float>* x, Blocks) {
    kernel(traced(x[0]), traced(x[1]).data);
}

template <class... Parameters>
constexpr index operands_of(void (*)(Parameters...)) {
    return (... + index(!std::is_same_v<Parameters, index>));
}

constexpr TracedRung rungs[] = {
#define RUNG(operation, Signature, variant, compiled, simulated, header)                                              \
    {#operation, #variant, Tracer::Locals::simulated, operands_of(operation::variant<Element>), run<operation::variant<Element>>},
    LOOPNEST_RUNGS};

}  // namespace

extern const TracedRungs table;
const TracedRungs table = rungs;

}  // namespace loopnest::LOOPNEST_ISA
