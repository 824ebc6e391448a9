// One running sum over all elements, along the rows or down the columns.
//
// row_wise takes the elements in the order in which a row-major matrix has them: each cache line is fetched once and used
// whole. column_wise takes the same elements a row apart: each costs a cache line, used again only if the line is still
// in the cache when the next column comes; and where a row is a power of two bytes long, all of a column's lines compete
// for a few places in the cache. On a column-major matrix the two change roles. Both have one accumulator, so in L1
// they are bound by the latency of an addition, some 3 to 4 cycles an element.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::sum {

template <class T>
void row_wise(Matrix<const T> a, T* sum) {
    T total = 0;
    for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j < a.cols; ++j) total += a(i, j);
    *sum = total;
}

template <class T>
void column_wise(Matrix<const T> a, T* sum) {
    T total = 0;
    for (index j = 0; j < a.cols; ++j)
        for (index i = 0; i < a.rows; ++i) total += a(i, j);
    *sum = total;
}

}  // namespace loopnest::LOOPNEST_ISA::sum
