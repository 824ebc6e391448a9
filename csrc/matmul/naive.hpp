// The definition in C++: three loops, over i, j and p. The innermost is a dot product of a row of a and a column of b.
//
//     c[i, j] = sum over p of a[i, p] * b[p, j]
//
// This is the loop of python.naive, a hundred times as fast: the types are known at compile time, so a product and a
// sum are one instruction each, and nothing is allocated. The limit is the order of the loops. In a row-major b the
// inner loop steps down a column, a whole row apart each time, so each element costs a cache line, and 4 bytes of
// 64 are used. And the sum is one chain of additions, each waiting some 4 cycles for the one before. Strict IEEE
// arithmetic forbids the compiler to reorder that chain, and so to use vector instructions.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
void naive(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) {
            T sum = 0;
            for (index p = 0; p < a.cols; ++p) sum += a(i, p) * b(p, j);
            c(i, j) = sum;
        }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
