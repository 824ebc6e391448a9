// All cores: the elements are cut into pieces, and each piece goes through `simd`.
//
// Threads share only what is read (runtime/share_elements.hpp). Below 32,768 elements, 9 µs of one core, a second core
// would come too late. As in `simd`, the size of the whole decides whether results are streamed past the caches. The
// limit is the cores' arithmetic within the caches, and beyond them the memory that they share.
#pragma once

#include "gelu/simd.hpp"
#include "runtime/share_elements.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

template <class T>
void parallel(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    const bool streamed = outgrows_caches(y);
    share_elements<T>(y.rows, y.cols, worth_a_thread_of_exp, [&](index i, index j, index rows, index cols) {
        simd_piece(x.block(i, j, rows, cols), y.block(i, j, rows, cols), tanh_form, streamed);
    });
}

}  // namespace gelu

namespace gelu_backward {

template <class T>
void parallel(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    const bool streamed = outgrows_caches(dx);
    share_elements<T>(dx.rows, dx.cols, worth_a_thread_of_exp, [&](index i, index j, index rows, index cols) {
        simd_piece(x.block(i, j, rows, cols), dy.block(i, j, rows, cols), dx.block(i, j, rows, cols), tanh_form,
                   streamed);
    });
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
