// The definition in C++: three loops, i, j, k, the innermost a dot product of a row of a and a column of b.
//
//     c[i, j] = sum over k of a[i, k] * b[k, j]
//
// The same loop as python.naive, a hundred times as fast: the types are known when it is compiled, so a product and a
// sum are one instruction each and nothing is allocated. What limits it is the order of the loops. In a row-major b the
// inner loop steps down a column, a whole row apart each time, so each element costs a cache line of which it uses
// 4 bytes of 64; and the sum is one chain of additions, each waiting some 4 cycles for the one before. Strict IEEE
// arithmetic forbids the compiler to reorder that chain, and so to use vector instructions.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
void naive(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) {
            T sum = 0;
            for (index k = 0; k < a.cols; ++k) sum += a(i, k) * b(k, j);
            c(i, j) = sum;
        }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
