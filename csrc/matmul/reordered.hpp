// The loops in the order i, k, j: the innermost runs along a row of b and a row of c.
//
// The arithmetic is that of naive, only the order differs. Now the inner loop steps through both rows one element
// at a time, so every byte of a fetched cache line is used; and its iterations are independent, so the compiler turns
// it into vector instructions, 8 or 16 floats in one. What limits it: all of b streams past once for every row of c,
// from L2 or L3 as soon as b outgrows L1, and each multiply-add still loads an element of b and loads and stores one
// of c.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
void reordered(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i) {
        for (index j = 0; j < c.cols; ++j) c(i, j) = 0;
        for (index k = 0; k < a.cols; ++k)
            for (index j = 0; j < c.cols; ++j) c(i, j) += a(i, k) * b(k, j);
    }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
