// Bias and GELU as the product's epilogue, and the gradients a block of hidden columns at a time.
//
// Forward, the epilogue (matmul/prefetched.hpp) gets each tile of z while it is still in L1. It adds the bias and
// writes gelu(z) to h: z and h are each written once, and neither is read again before the next product. Backward, the
// epilogue multiplies each tile of dy w2ᵀ by gelu', which makes it a tile of dz, and adds its rows to db1. That product
// is cut among the threads by columns only, so that no two threads add to the same element.
//
// dz is computed in column blocks of twice the L2 cache. Each block finishes its columns of dw1 = xᵀ dz and adds its
// share of dx = dz w1ᵀ before the next block reuses the memory. Scratch memory, kept by each thread between calls: that
// block, and the blocks that the products pack. The limit is the products' arithmetic.
//
// A result without rows is not wanted. Forward, h then lies in scratch memory and z nowhere: the next call finds its
// pages in place, and nothing is kept for a backward pass. Backward, the products of unwanted results are left out, as
// for frozen weights. dw1 and dw2 may have contiguous columns instead of rows, as for weights that are stored
// transposed.
#pragma once

#include "linalg/linear.hpp"
#include "mlp/composed.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace mlp_forward {

// z += b1 and h = gelu(z), for a tile of z.
template <bool tanh_form, class T>
struct BiasAndGelu {
    Vector<const T> b1;
    Matrix<T> other;  // h

    LOOPNEST_INLINE BiasAndGelu of_piece(index i0, index j0) const {
        return {b1.from(j0), other.block(i0, j0, other.rows - i0, other.cols - j0)};
    }
    [[gnu::noinline]] void apply(index i0, index j0, Matrix<T> z) const {
        const gelu::Gelu<T, tanh_form> gelu;
        for (index i = 0; i < z.rows; ++i)
            for (index j = 0; j < z.cols; j += lanes<T>) {
                const index rest = z.cols - j;
                const Vec<T> v = load_rest(&z(i, j), rest) + load_rest(&b1[j0 + j], rest, b1.stride);
                store_rest<T>(&z(i, j), v, rest);
                store_rest<T>(&other(i0 + i, j0 + j), gelu(v), rest);
            }
    }
};

template <bool tanh_form, class T>
void fused_form(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2, Vector<const T> b2,
                Matrix<T> z, Matrix<T> h, Matrix<T> y) {
    if (h.rows < x.rows) {  // not wanted: h overwrites z, element by element
        T* const memory = scratch<T>(Slot::activations, x.rows * w1.cols);
        z = h = {memory, x.rows, w1.cols, w1.cols, 1};
    }
    matmul::multiply_shared<T>(x, w1, z, BiasAndGelu<tanh_form, T>{b1, h});
    linear::fused<T>(h, w2, b2, y);
}

template <class T>
void fused(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2, Vector<const T> b2,
           Matrix<T> z, Matrix<T> h, Matrix<T> y, bool tanh_form) {
    tanh_form ? fused_form<true>(x, w1, b1, w2, b2, z, h, y) : fused_form<false>(x, w1, b1, w2, b2, z, h, y);
}

}  // namespace mlp_forward

namespace mlp_backward {

// dz = dh gelu'(z) in dh's place, and db1 += its rows, for a tile of dh.
template <bool tanh_form, class T>
struct TimesSlope {
    Matrix<const T> other;  // z
    Vector<T> db1;

    LOOPNEST_INLINE TimesSlope of_piece(index i0, index j0) const {
        return {other.block(i0, j0, other.rows - i0, other.cols - j0), db1.from(j0)};
    }
    [[gnu::noinline]] void apply(index i0, index j0, Matrix<T> dh) const {
        const gelu::Slope<T, tanh_form> slope;
        for (index j = 0; j < dh.cols; j += lanes<T>) {
            const index rest = dh.cols - j;
            Vec<T> sum = load_rest(&db1[j0 + j], rest);
            for (index i = 0; i < dh.rows; ++i) {
                const Vec<T> at = load_rest(&other(i0 + i, j0 + j), rest, other.col_stride);
                const Vec<T> dz = load_rest(&dh(i, j), rest) * slope(at);
                store_rest<T>(&dh(i, j), dz, rest);
                sum += dz;
            }
            store_rest<T>(&db1[j0 + j], sum, rest);
        }
    }
};

// c = a b, or the transposed product where c has contiguous columns.
template <class T>
void multiply_into(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (c.rows == 0) return;  // not wanted
    c.contiguous_rows() ? matmul::parallel<T>(a, b, c)
                        : matmul::parallel<T>(b.transposed(), a.transposed(), c.transposed());
}

// db1 and dw1 of some hidden columns, and their share of dx.
template <bool tanh_form, class T>
void hidden_columns(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2, Matrix<const T> z,
                    Matrix<T> dz, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1, bool add_to_dx) {
    for (index j = 0; j < db1.size; ++j) db1[j] = 0;
    matmul::multiply_shared<T>(dy, w2.transposed(), dz, TimesSlope<tanh_form, T>{z, db1}, matmul::Cut::columns);
    multiply_into<T>(x.transposed(), dz, dw1);
    if (dx.rows > 0)
        matmul::multiply_shared<T>(dz, w1.transposed(), dx, matmul::NoEpilogue{}, matmul::Cut::anyhow, add_to_dx);
}

template <bool tanh_form, class T>
void fused_form(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2, Matrix<const T> z,
                Matrix<const T> h, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1, Matrix<T> dw2, Vector<T> db2) {
    multiply_into<T>(h.transposed(), dy, dw2);
    sum_of_rows(dy, db2);
    if (db1.size < z.cols) return;  // not wanted, nor is anything else that needs dz
    const index most = larger(2 * cache_sizes().l2 / (larger(z.rows, 1) * index(sizeof(T))), 256);
    const index width = matmul::even_blocks(z.cols, most, matmul::tile_cols<T>);
    T* const memory = scratch<T>(Slot::activations, z.rows * smaller(width, z.cols));
    for (index j = 0; j < z.cols || j == 0; j += width) {  // at least once, so that without hidden columns dx is 0
        const index cols = smaller(width, z.cols - j);
        hidden_columns<tanh_form, T>(dy, x, w1.block(0, j, w1.rows, cols), w2.block(j, 0, cols, w2.cols),
                                     z.block(0, j, z.rows, cols), {memory, z.rows, cols, cols, 1}, dx,
                                     dw1.block(0, j, dw1.rows, cols), {&db1[j], cols, db1.stride}, j > 0);
    }
}

template <class T>
void fused(Matrix<const T> dy, Matrix<const T> x, Matrix<const T> w1, Matrix<const T> w2, Matrix<const T> z,
           Matrix<const T> h, Matrix<T> dx, Matrix<T> dw1, Vector<T> db1, Matrix<T> dw2, Vector<T> db2,
           bool tanh_form) {
    tanh_form ? fused_form<true>(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2)
              : fused_form<false>(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2);
}

}  // namespace mlp_backward

}  // namespace loopnest::LOOPNEST_ISA
