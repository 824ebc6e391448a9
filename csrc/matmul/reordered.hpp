// The loops in the order i, p, j: the innermost runs along a row of b and a row of c.
//
// The arithmetic is naive's, only the order differs. The inner loop now steps through both rows one element at a time,
// so every byte of a fetched cache line is used. Its iterations are independent, so the compiler turns it into vector
// instructions, 8 or 16 floats in one. The limit: all of b streams past once for every row of c, from L2 or L3 as soon
// as b outgrows L1, and each multiply-add still loads an element of b and loads and stores one of c.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
void reordered(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i) {
        for (index j = 0; j < c.cols; ++j) c(i, j) = 0;
        for (index p = 0; p < a.cols; ++p)
            for (index j = 0; j < c.cols; ++j) c(i, j) += a(i, p) * b(p, j);
    }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
