// The other four orders of the three loops, to study layouts: naive is ijk and reordered ikj, where k stands for p.
//
// All six do the same multiplications. They differ in the stride of the innermost loop in row-major matrices:
//
//     innermost   a         b         c         orders
//     p           1         a row     fixed     ijk, jik   a dot product: one chain of sums, b column by column
//     j           fixed     1         1         ikj, kij   rows along rows: vectorizes
//     i           a row     fixed     a row     jki, kji   columns: two strided streams, the slowest of all
//
// With column-major operands the last two lines change places. The outer two loops decide what is used again soon: kij
// updates all of c for every p, ikj finishes one row of c before the next.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
void clear(Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) c(i, j) = 0;
}

// Loops j, i, p: the dot products of naive, down one column of c after the other.
template <class T>
void jik(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index j = 0; j < c.cols; ++j)
        for (index i = 0; i < c.rows; ++i) {
            T sum = 0;
            for (index p = 0; p < a.cols; ++p) sum += a(i, p) * b(p, j);
            c(i, j) = sum;
        }
}

// Loops j, p, i: into a column of c goes a column of a, times one element of b, for every p.
template <class T>
void jki(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    clear(c);
    for (index j = 0; j < c.cols; ++j)
        for (index p = 0; p < a.cols; ++p)
            for (index i = 0; i < c.rows; ++i) c(i, j) += a(i, p) * b(p, j);
}

// Loops p, i, j: for every p all rows of c get the row p of b, times one element of a.
template <class T>
void kij(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    clear(c);
    for (index p = 0; p < a.cols; ++p)
        for (index i = 0; i < c.rows; ++i)
            for (index j = 0; j < c.cols; ++j) c(i, j) += a(i, p) * b(p, j);
}

// Loops p, j, i: for every p all columns of c get the column p of a, times one element of b.
template <class T>
void kji(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    clear(c);
    for (index p = 0; p < a.cols; ++p)
        for (index j = 0; j < c.cols; ++j)
            for (index i = 0; i < c.rows; ++i) c(i, j) += a(i, p) * b(p, j);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
