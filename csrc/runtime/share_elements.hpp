// The elements of a matrix in pieces for the threads.
//
// No two threads write the same cache line if rows lie as usual: pieces are whole rows, or whole lines of a few long
// rows. There are twice as many pieces as threads, so that little waits at the end.
#pragma once

#include "runtime/threads.hpp"

namespace loopnest::LOOPNEST_ISA {

// The least elements for each thread, some 10 µs of one core. With fewer, a second thread would come too late.
inline constexpr index worth_a_thread_of_copies = 1 << 17, worth_a_thread_of_exp = 1 << 14;

// piece(i, rows) for some rows each.
template <class Piece>
LOOPNEST_INLINE void share_rows(index rows, index cols, index worth_a_thread, Piece piece) {
    const index threads = smaller(smaller(num_threads(), rows * cols / worth_a_thread), rows);
    if (threads <= 1) return piece(0, rows);
    const index size = (rows + 2 * threads - 1) / (2 * threads);
    share((rows + size - 1) / size, [&](index n) { piece(n * size, smaller(size, rows - n * size)); });
}

// piece(i, j, rows, cols) for blocks of rows, or of columns if there are few rows.
template <class T, class Piece>
LOOPNEST_INLINE void share_elements(index rows, index cols, index worth_a_thread, Piece piece) {
    if (rows >= 2 * num_threads())
        return share_rows(rows, cols, worth_a_thread, [&](index i, index some) { piece(i, 0, some, cols); });
    constexpr index line = 64 / index(sizeof(T));
    share_rows((cols + line - 1) / line, line * rows, worth_a_thread, [&](index j, index lines) {
        piece(0, j * line, rows, smaller(lines * line, cols - j * line));
    });
}

// kernel(blocks…) for the same block of every matrix.
template <class Kernel, class T, class... Others>
LOOPNEST_INLINE void share_blocks(index worth_a_thread, Kernel kernel, Matrix<T> first, Others... x) {
    share_elements<T>(first.rows, first.cols, worth_a_thread, [&](index i, index j, index rows, index cols) {
        kernel(first.block(i, j, rows, cols), x.block(i, j, rows, cols)...);
    });
}

// The sum of part(i, j, rows, cols) over pieces, added in their order: with a given number of threads always the same.
template <class T, class Part>
LOOPNEST_INLINE T sum_of_shares(index rows, index cols, index worth_a_thread, Part part) {
    constexpr index most = 64;
    T parts[most] = {};
    const index threads = smaller(smaller(num_threads(), rows * cols / worth_a_thread), most);
    if (threads <= 1) return part(0, 0, rows, cols);
    const bool by_rows = rows >= threads;
    const index whole = by_rows ? rows : cols, size = (whole + threads - 1) / threads;
    share(threads, [&](index n) {
        const index start = smaller(n * size, whole), some = smaller(size, whole - start);
        if (some > 0) parts[n] = by_rows ? part(start, 0, some, cols) : part(0, start, rows, some);
    });
    T sum = 0;
    for (index n = 0; n < threads; ++n) sum += parts[n];
    return sum;
}

}  // namespace loopnest::LOOPNEST_ISA
