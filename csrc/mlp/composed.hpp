// The MLP from its parts: the fastest products, a pass for each bias, and GELU's own rung between them.
//
//     forward    z = x w1 + b1      h = gelu(z)      y = h w2 + b2
//     backward   dh = dy w2ᵀ        dz = dh · gelu'(z)
//                dx = dz w1ᵀ        dw1 = xᵀ dz      db1 = sum of dz's rows     dw2 = hᵀ dy     db2 = sum of dy's rows
//
// Transposed factors are views with exchanged strides. The products copy blocks of their operands and run on all
// threads; the passes between them run on one. The product writes each intermediate (t, h), its bias reads and writes
// it again, and gelu reads it once more: some 12 bytes an element that a fused pass would not move. dz, of z's size,
// lies in scratch memory that each thread keeps between calls. The limit is the products' arithmetic, plus those
// passes.
#pragma once

#include "gelu/simd.hpp"
#include "matmul/parallel.hpp"

namespace loopnest::LOOPNEST_ISA {

// compiled once, with the elementwise rungs
extern template void gelu::simd(Matrix<const float>, Matrix<float>, bool);
extern template void gelu::simd(Matrix<const double>, Matrix<double>, bool);
extern template void gelu_backward::simd(Matrix<const float>, Matrix<const float>, Matrix<float>, bool);
extern template void gelu_backward::simd(Matrix<const double>, Matrix<const double>, Matrix<double>, bool);

template <class T>
void add_to_rows(Matrix<T> a, Vector<const T> bias) {
    for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j < a.cols; ++j) a(i, j) += bias[j];
}

template <class T>
void sum_of_rows(Matrix<const T> a, Vector<T> sums) {
    for (index j = 0; j < a.cols; ++j) sums[j] = 0;
    for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j < a.cols; ++j) sums[j] += a(i, j);
}

namespace mlp_forward {

template <class T>
void composed(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2, Vector<const T> b2,
              Matrix<T> z, Matrix<T> h, Matrix<T> y, bool tanh_form) {
    matmul::parallel<T>(x, w1, z);
    add_to_rows(z, b1);
    gelu::simd<T>(z, h, tanh_form);
    matmul::parallel<T>(h, w2, y);
    add_to_rows(y, b2);
}

}  // namespace mlp_forward

namespace mlp_backward {

template <class T>
void composed(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2, Matrix<const T> z,
              Matrix<const T> h, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1, Matrix<T> dw2, Vector<T> db2,
              bool tanh_form) {
    T* const memory = scratch<T>(Slot::activations, z.rows * z.cols);
    const Matrix<T> dz = {memory, z.rows, z.cols, z.cols, 1};
    matmul::parallel<T>(h.transposed(), dy, dw2);
    sum_of_rows(dy, db2);
    matmul::parallel<T>(dy, w2.transposed(), dz);  // dh, and then dz in its place
    gelu_backward::simd<T>(z, dz, dz, tanh_form);
    matmul::parallel<T>(x.transposed(), dz, dw1);
    sum_of_rows<T>(dz, db1);
    matmul::parallel<T>(dz, w1.transposed(), dx);
}

}  // namespace mlp_backward

}  // namespace loopnest::LOOPNEST_ISA
