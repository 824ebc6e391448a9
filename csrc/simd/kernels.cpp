// The table of kernels, compiled once for each ISA level, with the namespace LOOPNEST_ISA named for it.
//
// A new rung is a header and a line here: RUNG(gelu, simd) is the function template loopnest::…::gelu::simd<T>, for
// float and double. rung_headers.hpp includes every header below csrc/<operation>/; the build writes it.
#include "kernels.hpp"

#include "machine/limits.hpp"
#include "rung_headers.hpp"

#define RUNG(operation, name) {#name, operation::name<float>, operation::name<double>}

namespace loopnest::LOOPNEST_ISA {
namespace {

constexpr Rung<BinaryFn> matmul_rungs[] = {
    RUNG(matmul, jki),
    RUNG(matmul, kij),
    RUNG(matmul, kji),
    RUNG(matmul, reordered),
    RUNG(matmul, blocked),
    RUNG(matmul, register_tile),
    RUNG(matmul, packed),
    RUNG(matmul, prefetched),
    RUNG(matmul, parallel),
};
constexpr Rung<ByBlocksFn> matmul_by_blocks_rungs[] = {
    RUNG(matmul, blocked_with),
};

constexpr Rung<DotFn> dot_rungs[] = {
    RUNG(dot, many_accumulators),
    RUNG(dot, simd),
};
constexpr Rung<SumFn> sum_rungs[] = {
    RUNG(sum, column_wise),
    RUNG(sum, many_accumulators),
    RUNG(sum, simd),
};
constexpr Rung<BinaryFn> add_rungs[] = {
    {"vectorized", add::loop<float>, add::loop<double>},
    RUNG(add, simd),
};
constexpr Rung<UnaryFn> transpose_rungs[] = {
    RUNG(transpose, naive),
    RUNG(transpose, column_wise),
    RUNG(transpose, blocked),
};
constexpr Rung<LinearFn> linear_rungs[] = {
    RUNG(linear, fused),
};

constexpr Rung<UnaryFn> exp_rungs[] = {
    RUNG(exp, simd),
};
constexpr Rung<UnaryFn> relu_rungs[] = {
    RUNG(relu, simd),
};
constexpr Rung<BinaryFn> relu_backward_rungs[] = {
    RUNG(relu_backward, simd),
};
constexpr Rung<UnaryFn> sigmoid_rungs[] = {
    RUNG(sigmoid, simd),
};
constexpr Rung<BinaryFn> sigmoid_backward_rungs[] = {
    RUNG(sigmoid_backward, simd),
};
constexpr Rung<UnaryFn> tanh_rungs[] = {
    RUNG(tanh, simd),
};
constexpr Rung<BinaryFn> tanh_backward_rungs[] = {
    RUNG(tanh_backward, simd),
};
constexpr Rung<UnaryFn> softmax_rungs[] = {
    RUNG(softmax, simd),
};

constexpr Rung<GeluFn> gelu_rungs[] = {
    RUNG(gelu, polynomial),
    RUNG(gelu, simd),
    RUNG(gelu, parallel),
};
constexpr Rung<GeluBackwardFn> gelu_backward_rungs[] = {
    RUNG(gelu_backward, polynomial),
    RUNG(gelu_backward, simd),
    RUNG(gelu_backward, parallel),
};

constexpr Rung<MseFn> mse_rungs[] = {
    RUNG(mse, vectorized),
};
constexpr Rung<MseBackwardFn> mse_backward_rungs[] = {
    RUNG(mse_backward, vectorized),
};
constexpr Rung<CrossEntropyFn> cross_entropy_rungs[] = {
    RUNG(cross_entropy, loop),
};
constexpr Rung<CrossEntropyBackwardFn> cross_entropy_backward_rungs[] = {
    RUNG(cross_entropy_backward, loop),
};

constexpr Rung<SgdFn> sgd_rungs[] = {
    RUNG(sgd, vectorized),
};
constexpr Rung<MomentumFn> momentum_rungs[] = {
    RUNG(momentum, vectorized),
};
constexpr Rung<RmspropFn> rmsprop_rungs[] = {
    RUNG(rmsprop, vectorized),
};
constexpr Rung<AdamFn> adam_rungs[] = {
    RUNG(adam, vectorized),
};

constexpr Rung<MlpForwardFn> mlp_forward_rungs[] = {
    RUNG(mlp_forward, composed),
    RUNG(mlp_forward, fused),
};
constexpr Rung<MlpBackwardFn> mlp_backward_rungs[] = {
    RUNG(mlp_backward, composed),
    RUNG(mlp_backward, fused),
};

constexpr Rung<MultiplyAddFn> multiply_add_limits[] = {
    RUNG(limits, multiply_add),
    RUNG(limits, multiply_add_chain),
};
constexpr Rung<ReadFn> read_limits[] = {
    RUNG(limits, read),
};
constexpr Rung<CopyFn> copy_limits[] = {
    RUNG(limits, copy),
    RUNG(limits, copy_past_caches),
};
constexpr Rung<TriadFn> triad_limits[] = {
    RUNG(limits, triad),
    RUNG(limits, triad_past_caches),
};

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {
    .matmul = matmul_rungs,
    .matmul_by_blocks = matmul_by_blocks_rungs,
    .dot = dot_rungs,
    .sum = sum_rungs,
    .add = add_rungs,
    .transpose = transpose_rungs,
    .linear = linear_rungs,
    .exp = exp_rungs,
    .relu = relu_rungs,
    .sigmoid = sigmoid_rungs,
    .tanh = tanh_rungs,
    .softmax = softmax_rungs,
    .relu_backward = relu_backward_rungs,
    .sigmoid_backward = sigmoid_backward_rungs,
    .tanh_backward = tanh_backward_rungs,
    .gelu = gelu_rungs,
    .gelu_backward = gelu_backward_rungs,
    .mse = mse_rungs,
    .mse_backward = mse_backward_rungs,
    .cross_entropy = cross_entropy_rungs,
    .cross_entropy_backward = cross_entropy_backward_rungs,
    .sgd = sgd_rungs,
    .momentum = momentum_rungs,
    .rmsprop = rmsprop_rungs,
    .adam = adam_rungs,
    .mlp_forward = mlp_forward_rungs,
    .mlp_backward = mlp_backward_rungs,
    .multiply_add_limit = multiply_add_limits,
    .read_limit = read_limits,
    .copy_limit = copy_limits,
    .triad_limit = triad_limits,
};

}  // namespace loopnest::LOOPNEST_ISA
