// int8 with scales: c[i, j] = float(sum over p of a[i, p] * b[p, j]) * scale_a[i] * scale_b[j].
//
// The sums are exact in 32 bits, by the fastest rung. A block of them waits in L3 for one conversion and two
// multiplications an element (linalg/kernel/in_blocks.hpp). The limit is the product.
#pragma once

#include "linalg/kernel/in_blocks.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires(std::is_same_v<T, std::int8_t> && std::is_same_v<R, float>)
void scaled(Matrix<const T> a, Matrix<const T> b, Vector<const float> scale_a, Vector<const float> scale_b, Matrix<R> c,
            ProductFn<T> product) {
    multiply_in_blocks<T>(a, b, product, [=](index i0, index j0, Matrix<std::int32_t> sums) {
        for_vectors(sums, [=](index i, index j, Vec<std::int32_t> v, index count) __attribute__((always_inline)) {
            const Vec<float> of_row = __builtin_convertvector(v, Vec<float>) * scale_a[i0 + i];
            round_rest(&c(i0 + i, j0 + j), of_row * load_rest(&scale_b[j0 + j], count, scale_b.stride), count);
        });
    });
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
