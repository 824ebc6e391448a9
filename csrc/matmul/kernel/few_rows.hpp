// Products with a vector, or with a few of them: bound by memory, so the large operand is read once.
//
// With m rows of a, each element of b takes part in m multiply-adds. For a small m, memory and L3 deliver too slowly to
// keep the multipliers busy, and a micro-kernel that walks down a panel of b, 256 bytes here and 256 bytes there, reads
// in the worst order. So b is read in its own order: by_rows.hpp for contiguous rows, dots.hpp for contiguous columns.
// A product with few columns is the transposed one: cᵀ = bᵀ aᵀ.
#pragma once

#include "matmul/kernel/by_rows.hpp"
#include "matmul/kernel/dots.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// Rows of a up to which these algorithms were measured to be faster than tiles: by_rows up to 3, or 4 if b comes from
// memory; dots up to 32, since tiles would have to transpose b first.
inline constexpr int few_by_rows = 3, few_by_rows_from_memory = 4, few_by_dots = 32;
// A dot product of fewer products than this spends too much time on adding up the lanes of its vectors. With more rows
// of a it pays from longer sums on, since tiles then transpose b for more rows.
template <class T>
index long_dot(index rows) { return larger(rows < 8 ? 64 : 80, rows * lanes<T> / 2); }

// Whether c = a b is best computed by_rows, whatever the layout of a.
template <class T>
bool rows_suit(Matrix<const T> b, Matrix<T> c) {
    const bool from_memory = b.rows * b.cols * index(sizeof(T)) > cache_sizes().l3;
    const int most = from_memory ? few_by_rows_from_memory : few_by_rows;
    return b.contiguous_rows() && c.contiguous_rows() && c.rows <= most;
}

template <class T>
void few_rows_by_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    in_groups<few_by_rows_from_memory>(c.rows, [&]<int rows>(index) { by_rows<rows>(a, b, c); });
}

// Whether c = a b is best computed by dots.
template <class T>
bool dots_suit(Matrix<const T> b, Matrix<T> c) {
    return b.row_stride == 1 && c.rows <= few_by_dots && b.rows >= long_dot<T>(c.rows);
}

template <class T>
void few_rows_by_dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (c.rows == 1) return one_row_of_dots(a.row(0), b, c.row(0));
    // Rows of a that are no multiple of 4096 bytes apart, as b's columns often are: L1 could not hold ten that are.
    if (!a.contiguous_rows() || b.cols >= 4 * streams) {
        const index step = packed_width<T>(a.cols) + lanes<T>;
        T* const rows = scratch<T>(Slot::pack_a, a.rows * step);
        pack_b(a, rows, step);
        a = {rows, a.rows, a.cols, step, 1};
    }
    by_dots(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
