// Bias and GELU inside the product's last pass.
//
// The product hands over each piece of a row of z, some 64 elements, as soon as it is complete and still in L1 (see
// multiply_prefetched in matmul/prefetched.hpp). There it gets its bias, and gelu(z) is written beside it: z and h are each
// written once, and neither is read again before the next product. Backward, gelu' is applied to each piece of dy w2ᵀ
// in the same way, which makes it a piece of dz, and the piece is added to db1 at once; that product is cut among the
// threads by columns alone, so that no two add to the same element. dw1 = xᵀ dz and dx = dz w1ᵀ are products of transposed
// views. Scratch memory, kept between calls by the thread that calls: dz, of z's size, and the blocks that the products
// pack. The limit is the products' arithmetic.
#pragma once

#include "mlp/composed.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace mlp_forward {

template <bool tanh_form, class T>
void fused_form(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2, Vector<const T> b2,
                Matrix<T> z, Matrix<T> h, Matrix<T> y) {
    matmul::multiply_shared<T>(x, w1, z, [=](index i, index j0, index width, T* z_row) {
        for (index j = 0; j < width; ++j) z_row[j] += b1[j0 + j];
        map_row(Vector<T>{&h(i, j0), width, 1}, [](Vec<T> v) { return gelu::gelu_of(v, tanh_form); },
                Vector<const T>{z_row, width, 1});
    });
    matmul::multiply_shared<T>(h, w2, y, [=](index, index j0, index width, T* y_row) {
        for (index j = 0; j < width; ++j) y_row[j] += b2[j0 + j];
    });
}

template <class T>
void fused(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2, Vector<const T> b2, Matrix<T> z,
           Matrix<T> h, Matrix<T> y, bool tanh_form) {
    tanh_form ? fused_form<true>(x, w1, b1, w2, b2, z, h, y) : fused_form<false>(x, w1, b1, w2, b2, z, h, y);
}

}  // namespace mlp_forward

namespace mlp_backward {

template <bool tanh_form, class T>
void fused_form(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2, Matrix<const T> z,
                Matrix<const T> h, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1, Matrix<T> dw2, Vector<T> db2) {
    T* const memory = scratch<T>(Slot::activations, z.rows * z.cols);
    const Matrix<T> dz = {memory, z.rows, z.cols, z.cols, 1};
    matmul::parallel<T>(h.transposed(), dy, dw2);
    sum_of_rows(dy, db2);
    for (index j = 0; j < db1.size; ++j) db1[j] = 0;
    matmul::multiply_shared<T>(dy, w2.transposed(), dz, [=](index i, index j0, index width, T* dz_row) {
        map_row(Vector<T>{dz_row, width, 1}, [](Vec<T> dh, Vec<T> v) { return dh * gelu::slope_of(v, tanh_form); },
                Vector<const T>{dz_row, width, 1}, Vector<const T>{&z(i, j0), width, z.col_stride});
        for (index j = 0; j < width; ++j) db1[j0 + j] += dz_row[j];
    }, matmul::Cut::columns);
    matmul::parallel<T>(x.transposed(), dz, dw1);
    matmul::parallel<T>(dz, w1.transposed(), dx);
}

template <class T>
void fused(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2, Matrix<const T> z,
           Matrix<const T> h, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1, Matrix<T> dw2, Vector<T> db2, bool tanh_form) {
    tanh_form ? fused_form<true>(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2)
              : fused_form<false>(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2);
}

}  // namespace mlp_backward

}  // namespace loopnest::LOOPNEST_ISA
