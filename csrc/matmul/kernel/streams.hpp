// What the algorithms for skinny operands share: streams of rows or columns, and where cache lines begin.
//
// Four rows are read at once, a quarter of the matrix apart. Four neighbouring rows would each end where the next
// began, and the hardware's prefetchers would start anew with every row; a quarter apart each stream goes on where it
// ended.
//
// A load or store across two cache lines takes the time of two, and these loops do little else. So the large operand is
// read by whole lines, and what is multiplied with it or added to it is first copied to a place where its lines begin
// in step.
#pragma once

#include "matmul/kernel/pack.hpp"
#include "runtime/caches.hpp"
#include "runtime/scratch.hpp"
#include "simd/native.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

inline constexpr int streams = 4;  // that the hardware's prefetchers follow at once; 2 and 8 are slower

// `streams` rows of m from row p on, a `quarter` of m apart.
template <class T>
LOOPNEST_INLINE Matrix<T> rows_apart(Matrix<T> m, index p, index quarter) {
    return {&m(p, 0), streams, m.cols, m.row_stride * quarter, m.col_stride};
}
template <class T>
LOOPNEST_INLINE Matrix<T> cols_apart(Matrix<T> m, index j, index quarter) {
    return rows_apart(m.transposed(), j, quarter).transposed();
}

// group<rows>(i) for 1 to `most` rows from i on, until all are done.
template <int most, class Group>
LOOPNEST_INLINE void in_groups(index rows, Group group) {
    index i = 0;
    for (; i + most <= rows; i += most) group.template operator()<most>(i);
    if constexpr (most > 1)
        if (i < rows) in_groups<most - 1>(rows - i, [=]<int rows>(index r) { group.template operator()<rows>(i + r); });
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
