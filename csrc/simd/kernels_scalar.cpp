// The scalar rungs: headers of the table in kernels.cpp, compiled once more with the compiler's vectorization off, so
// that a comparison of `scalar` with its vectorized neighbour is one of the instructions alone.
#include "kernels.hpp"

#include "rung_headers.hpp"

#define SCALAR_RUNG(operation, name, function) {name, operation::function<float>, operation::function<double>}

namespace loopnest::LOOPNEST_ISA {
namespace {

constexpr Rung<BinaryFn> matmul_rungs[] = {
    SCALAR_RUNG(matmul, "naive", naive),
    SCALAR_RUNG(matmul, "jik", jik),
};
constexpr Rung<DotFn> dot_rungs[] = {
    SCALAR_RUNG(dot, "one_accumulator", one_accumulator),
};
constexpr Rung<SumFn> sum_rungs[] = {
    SCALAR_RUNG(sum, "row_wise", row_wise),
};
constexpr Rung<BinaryFn> add_rungs[] = {
    SCALAR_RUNG(add, "scalar", loop),
};
constexpr Rung<GeluFn> gelu_rungs[] = {
    SCALAR_RUNG(gelu, "scalar", scalar),
};
constexpr Rung<GeluBackwardFn> gelu_backward_rungs[] = {
    SCALAR_RUNG(gelu_backward, "scalar", scalar),
};

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {
    .matmul = matmul_rungs,
    .dot = dot_rungs,
    .sum = sum_rungs,
    .add = add_rungs,
    .gelu = gelu_rungs,
    .gelu_backward = gelu_backward_rungs,
};

}  // namespace loopnest::LOOPNEST_ISA
