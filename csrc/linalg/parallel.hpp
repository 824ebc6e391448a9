// dot, sum, add and transpose on all cores.
//
// Threads take parts of the vectors or blocks of rows. A sum is added up from the threads' parts in their order, so
// with a given number of threads it is always the same. Below some 260,000 elements a second thread would come too
// late. Sums of arrays and transposes that outgrow the caches are stored past them. The limit is the memory that the
// cores share; within L2 it is each core's load and store units.
#pragma once

#include "activations/kernel/map.hpp"
#include "linalg/add_simd.hpp"
#include "linalg/dot_simd.hpp"
#include "linalg/sum_simd.hpp"
#include "linalg/transpose_simd.hpp"
#include "runtime/share_elements.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace dot {
template <class T>
void parallel(Vector<const T> x, Vector<const T> y, T* sum) {
    *sum = sum_of_shares<T>(1, x.size, worth_a_thread_of_copies, [&](index, index i, index, index size) {
        T part;
        simd<T>({&x[i], size, x.stride}, {&y[i], size, y.stride}, &part);
        return part;
    });
}
}  // namespace dot

namespace sum {
template <class T>
void parallel(Matrix<const T> a, T* sum) {
    *sum = sum_of_shares<T>(a.rows, a.cols, worth_a_thread_of_copies, [&](index i, index j, index rows, index cols) {
        T part;
        simd<T>(a.block(i, j, rows, cols), &part);
        return part;
    });
}
}  // namespace sum

namespace add {
template <class T>
void parallel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (a.contiguous_rows() && b.contiguous_rows())
        return map_shared(worth_a_thread_of_copies, c, [](Vec<T> x, Vec<T> y) { return x + y; }, a, b);
    share_blocks(worth_a_thread_of_copies, simd<T>, a, b, c);
}
}  // namespace add

namespace transpose {
// Whether each vector of out's rows is aligned, as stores past the caches must be.
template <class T>
bool rows_are_aligned(Matrix<T> out) {
    return past_line(out.data) == 0 && out.row_stride % lanes<T> == 0;
}

template <class T>
void parallel(Matrix<const T> a, Matrix<T> out) {  // pieces are the result's rows: whole lines
    const bool streamed = outgrows_caches(out) && rows_are_aligned(out);
    share_rows(out.rows, out.cols, worth_a_thread_of_copies, [&](index j, index rows) {
        const Matrix<const T> a_part = a.block(0, j, a.rows, rows);
        const Matrix<T> out_part = out.block(j, 0, rows, out.cols);
        if (!streamed) return simd(a_part, out_part);
        by_squares(a_part, out_part, [](T* to, Vec<T> v) __attribute__((always_inline)) { stream<T>(to, v); });
        end_of_stream();
    });
}
}  // namespace transpose

}  // namespace loopnest::LOOPNEST_ISA
