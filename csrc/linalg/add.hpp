// One addition an element, in the order in which the rows lie in memory.
//
//     c[i, j] = a[i, j] + b[i, j]
//
// The rungs scalar and vectorized are both this loop. With vectorization off it loads, adds and stores one element an
// iteration: 3 to 4 instructions for one operation, so the front end is the limit while the arrays are in L1. With
// vectorization on, the compiler makes a version for rows without gaps that adds a register's width (4, 8 or 16 floats)
// an iteration. Beyond L2 both take the same time: 12 bytes cross the memory bus for each float addition, and the bus
// is the limit.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::add {

template <class T>
LOOPNEST_INLINE void loop(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) c(i, j) = a(i, j) + b(i, j);
}

// One addition an element, one element an iteration: vectorization is off.
template <class T>
void scalar(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) { loop(a, b, c); }

// The same loop with vectorization on: a register of elements an iteration.
template <class T>
void vectorized(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) { loop(a, b, c); }

}  // namespace loopnest::LOOPNEST_ISA::add
