// Reduced precision: matmul's fastest rung leaves float sums, and the bias is added before the one rounding.
//
//     y[i, j] = round(sum over p of x[i, p] * w[p, j] + b[j])
//
// A product that rounds and a bias that is added afterwards would round twice. Here a block of sums, up to half of
// L3, is finished before the next is begun (linalg/kernel/in_blocks.hpp). Which rung multiplies is decided by
// its time, as for matmul itself. The limit is the product.
#pragma once

#include "linalg/kernel/in_blocks.hpp"

namespace loopnest::LOOPNEST_ISA::linear {

template <class T, class R>
    requires(sizeof(T) == 2)
void blockwise(Matrix<const T> x, Matrix<const T> w, Vector<const T> b, Matrix<R> y, ProductFn<T> product) {
    const Vector<const float> bias = as_floats(b);
    multiply_in_blocks<T>(x, w, product, [=](index i0, index j0, Matrix<float> sums) {
        for_vectors(sums, [=](index i, index j, Vec<float> v, index count) __attribute__((always_inline)) {
            round_rest(&y(i0 + i, j0 + j), v + load_rest(&bias[j0 + j], count), count);
        });
    });
}

}  // namespace loopnest::LOOPNEST_ISA::linear
