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

// An operand as a kernel takes it: a matrix, or the place of a number.
struct Operand {
    const Matrix<float>& x;

    Element* data() const { return reinterpret_cast<Element*>(x.data); }
    operator Matrix<Element>() const { return {data(), x.rows, x.cols, x.row_stride, x.col_stride}; }
    operator Matrix<const Element>() const { return Matrix<Element>(*this); }
    operator Element*() const { return data(); }
};

template <auto kernel>
void run(const Matrix<float>* x, Blocks blocks) {
    if constexpr (std::is_invocable_v<decltype(kernel), Operand, Operand>)
        kernel(Operand{x[0]}, Operand{x[1]});
    else if constexpr (std::is_invocable_v<decltype(kernel), Operand, Operand, Operand>)
        kernel(Operand{x[0]}, Operand{x[1]}, Operand{x[2]});
    else
        kernel(Operand{x[0]}, Operand{x[1]}, Operand{x[2]}, blocks.rows, blocks.inner, blocks.cols);
}

template <class... Parameters>
constexpr index operands_of(void (*)(Parameters...)) { return (... + index(!std::is_same_v<Parameters, index>)); }

constexpr TracedRung rungs[] = {
#define RUNG(operation, Signature, variant, compiled, simulated, header)                                              \
    {#operation, #variant, Tracer::Locals::simulated, operands_of(operation::variant<Element>),                       \
     run<operation::variant<Element>>},
    LOOPNEST_RUNGS};

}  // namespace

extern const TracedRungs table;
const TracedRungs table = rungs;

}  // namespace loopnest::LOOPNEST_ISA
