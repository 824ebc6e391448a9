// Row by row of the source, or row by row of the result.
//
//     out[j, i] = a[i, j]
//
// There is no arithmetic, only moves, and one side must be walked down its columns. naive reads rows and writes
// columns: each store touches another cache line, which is fetched first and later written back whole for 4 bytes.
// column_wise reads columns and writes rows: the strided side is the loads, and a core can have more loads under way.
// Either way the strided side uses one element of each line. Once the lines of a column outgrow the cache, a line is
// lost before the next column needs it.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::transpose {

// Row by row of the source: loads are neighbours, stores are a row apart.
template <class T>
void naive(Matrix<const T> a, Matrix<T> out) {
    for (index i = 0; i < a.rows; ++i)
        for (index j = 0; j < a.cols; ++j) out(j, i) = a(i, j);
}

// Row by row of the result: stores are neighbours, loads are a row apart.
template <class T>
void column_wise(Matrix<const T> a, Matrix<T> out) {
    for (index j = 0; j < a.cols; ++j)
        for (index i = 0; i < a.rows; ++i) out(j, i) = a(i, j);
}

}  // namespace loopnest::LOOPNEST_ISA::transpose
