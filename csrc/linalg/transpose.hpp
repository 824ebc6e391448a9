// Row by row of the source, or row by row of the result.
//
//     out[j, i] = a[i, j]
//
// No arithmetic, only moves; one of the two sides must be walked down its columns. naive reads rows and writes columns:
// each store touches another cache line, which is first fetched and then written back whole for the sake of 4 bytes.
// column_wise reads columns and writes rows: the strided side is the loads, which a core can have more of under way.
// Either way the strided side uses one element of each line, and has lost the line before it comes back to it for the
// next column, once a column's lines outgrow the cache.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::transpose {

template <class T>
void naive(Matrix<const T> a, Matrix<T> out) {
    for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j < a.cols; ++j) out(j, i) = a(i, j);
}

template <class T>
void column_wise(Matrix<const T> a, Matrix<T> out) {
    for (index j = 0; j < a.cols; ++j)
        for (index i = 0; i < a.rows; ++i) out(j, i) = a(i, j);
}

}  // namespace loopnest::LOOPNEST_ISA::transpose
