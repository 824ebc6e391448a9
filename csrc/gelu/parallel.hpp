// All cores: the elements are cut into pieces, and each piece goes through `simd`.
//
// Threads share only what is read, and no two write the same cache line if rows lie as usual: pieces are whole rows, or
// whole lines of a few long rows. There are twice as many pieces as threads, so that little waits at the end. Below
// 32,768 elements, 9 µs of one core, a second core would come too late. As in `simd`, the size of the whole decides
// whether results are streamed past the caches. The limit is the cores' arithmetic within the caches, and beyond them
// the memory that they share.
#pragma once

#include "gelu/simd.hpp"
#include "runtime/threads.hpp"

namespace loopnest::LOOPNEST_ISA {

// piece(i, j, rows, cols) for pieces of a matrix, on all threads.
template <class T, class Piece>
LOOPNEST_INLINE void share_elements(index rows, index cols, Piece piece) {
    constexpr index worth_a_thread = 16384;
    const index threads = smaller(num_threads(), rows * cols / worth_a_thread);
    if (threads <= 1) return piece(0, 0, rows, cols);
    const bool by_rows = rows >= 2 * threads;
    const index length = by_rows ? rows : cols, unit = by_rows ? 1 : 64 / index(sizeof(T));
    const index size = round_up((length + 2 * threads - 1) / (2 * threads), unit);
    share((length + size - 1) / size, [&](index n) {
        const index start = n * size, part = smaller(size, length - start);
        by_rows ? piece(start, 0, part, cols) : piece(0, start, rows, part);
    });
}

namespace gelu {

template <class T>
void parallel(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    const bool streamed = outgrows_caches(y);
    share_elements<T>(y.rows, y.cols, [&](index i, index j, index rows, index cols) {
        simd_piece(x.block(i, j, rows, cols), y.block(i, j, rows, cols), tanh_form, streamed);
    });
}

}  // namespace gelu

namespace gelu_backward {

template <class T>
void parallel(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    const bool streamed = outgrows_caches(dx);
    share_elements<T>(dx.rows, dx.cols, [&](index i, index j, index rows, index cols) {
        simd_piece(x.block(i, j, rows, cols), dy.block(i, j, rows, cols), dx.block(i, j, rows, cols), tanh_form,
                   streamed);
    });
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
