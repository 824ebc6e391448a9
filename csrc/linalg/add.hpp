// One addition an element, in the order in which the rows lie in memory.
//
//     c[i, j] = a[i, j] + b[i, j]
//
// The rungs scalar and vectorized are both this loop. Compiled with vectorization off, it loads, adds and stores one
// element a turn: 3 to 4 instructions for one operation, so the front end is the limit while the arrays are in L1. With
// vectorization on, the compiler makes a version for rows without gaps that does a register's worth a turn (4, 8 or 16
// floats). Beyond L2 the two meet: 12 bytes cross the memory bus for each float addition, and the bus is the limit.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::add {

template <class T>
LOOPNEST_INLINE void loop(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) c(i, j) = a(i, j) + b(i, j);
}

template <class T>
void scalar(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    loop(a, b, c);
}

template <class T>
void vectorized(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    loop(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::add
