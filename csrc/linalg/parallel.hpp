// dot, sum, add and transpose on all cores.
//
// Threads take parts of the vectors or blocks of rows. A sum is added up from the threads' parts in their order, so
// with a given number of threads it is always the same. Below some 260,000 elements a second thread would come too
// late. The limit is the memory that the cores share; within L2 it is each core's load and store units.
#pragma once

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
    share_elements<T>(c.rows, c.cols, worth_a_thread_of_copies, [&](index i, index j, index rows, index cols) {
        simd<T>(a.block(i, j, rows, cols), b.block(i, j, rows, cols), c.block(i, j, rows, cols));
    });
}
}  // namespace add

namespace transpose {
template <class T>
void parallel(Matrix<const T> a, Matrix<T> out) {  // pieces are the result's rows: whole lines
    share_rows(out.rows, out.cols, worth_a_thread_of_copies, [&](index j, index rows) {
        simd<T>(a.block(0, j, a.rows, rows), out.block(j, 0, rows, out.cols));
    });
}
}  // namespace transpose

}  // namespace loopnest::LOOPNEST_ISA
