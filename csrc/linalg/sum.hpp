// One running sum over all elements, along the rows or down the columns.
//
// row_wise reads the elements in the order of a row-major matrix: each cache line is fetched once and used whole.
// column_wise reads the same elements a row apart: each costs a cache line, which is used again only if it is still in
// the cache when the next column comes. If a row is a power of two bytes long, all lines of a column compete for a few
// places in the cache. On a column-major matrix the two change roles. Both have one accumulator, so in L1 the limit is
// the latency of an addition, 3 to 4 cycles an element.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::sum {

// One running sum over all elements, along one row after the other.
template <class T>
void row_wise(Matrix<const T> a, T* sum) {
    T total = 0;
    for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j < a.cols; ++j) total += a(i, j);
    *sum = total;
}

// One running sum over all elements, down one column after the other.
template <class T>
void column_wise(Matrix<const T> a, T* sum) {
    T total = 0;
    for (index j = 0; j < a.cols; ++j)
        for (index i = 0; i < a.rows; ++i) total += a(i, j);
    *sum = total;
}

}  // namespace loopnest::LOOPNEST_ISA::sum
