// Reduced precision: bias and GELU are taken of float sums, and z, h and y are rounded once each.
//
//     z = x w1 + b1      h = gelu(z)      y = h w2 + b2
//
// GELU gets z before it is rounded, so h has one rounding less than if the operations ran one after the other. h is
// rounded to the inputs' type, since the second product multiplies elements of that type, as torch and JAX do. A block
// of z's sums is finished before the next is begun (linalg/kernel/in_blocks.hpp): GELU takes 7 look-ups and 5
// multiply-adds for 16 elements, where their sums took hundreds. The limit is the products.
#pragma once

#include "gelu/simd.hpp"
#include "linalg/blockwise.hpp"

namespace loopnest::LOOPNEST_ISA::mlp_forward {

template <bool tanh_form, class T>
void hidden_in_blocks(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<T> z, Matrix<T> h,
                      ProductFn<T> product) {
    const Vector<const float> bias = as_floats(b1);
    multiply_in_blocks<T>(x, w1, product, [=](index i0, index j0, Matrix<float> sums) {
        const gelu::Gelu<float, tanh_form> gelu;
        for_vectors(sums, [&](index i, index j, Vec<float> v, index count) __attribute__((always_inline)) {
            v += load_rest(&bias[j0 + j], count);
            round_rest(&z(i0 + i, j0 + j), v, count);
            round_rest(&h(i0 + i, j0 + j), gelu(v), count);
        });
    });
}

template <class T, class R>
    requires(sizeof(T) == 2 && std::is_same_v<T, R>)
void blockwise(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2, Vector<const T> b2,
               Matrix<R> z, Matrix<R> h, Matrix<R> y, bool tanh_form, ProductFn<T> product) {
    tanh_form ? hidden_in_blocks<true>(x, w1, b1, z, h, product) : hidden_in_blocks<false>(x, w1, b1, z, h, product);
    linear::blockwise<T, R>(h, w2, b2, y, product);
}

}  // namespace loopnest::LOOPNEST_ISA::mlp_forward
