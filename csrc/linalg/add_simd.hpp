// The same addition in explicit vectors: load, load, add, store, a register's width at a time.
//
// The compiler makes the same of the plain loop if both operands are contiguous, and the speed is the same. This one is
// ahead if an operand is a column broadcast along its rows (column stride 0): the compiler's version for contiguous
// rows does not apply, while here the element is put into every lane once a row. Other strides go element by element.
// The limit is memory, or the store port (one vector a cycle) while everything is in L1.
#pragma once

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA::add {

// The lanes at j of a contiguous row, or of one repeated element.
template <class T>
LOOPNEST_INLINE Vec<T> lanes_at(Vector<const T> row, index j) {
    return row.stride == 0 ? broadcast(row.data[0]) : load(row.data + j);
}

template <class T>
void simd(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const bool by_vectors = c.contiguous_rows() && (a.contiguous_rows() || a.col_stride == 0) &&
                            (b.contiguous_rows() || b.col_stride == 0);
    for (index i = 0; i < c.rows; ++i) {
        const Vector<const T> a_row = a.row(i), b_row = b.row(i);
        index j = 0;
        if (by_vectors)
            for (; j + lanes<T> <= c.cols; j += lanes<T>) store<T>(&c(i, j), lanes_at(a_row, j) + lanes_at(b_row, j));
        for (; j < c.cols; ++j) c(i, j) = a_row[j] + b_row[j];
    }
}

}  // namespace loopnest::LOOPNEST_ISA::add
