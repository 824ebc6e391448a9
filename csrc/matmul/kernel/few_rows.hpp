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
inline constexpr int long_dot = 64;  // products; adding up the lanes of a vector takes as long as some 10

// c = a b if a has few rows and b can be streamed; otherwise does nothing and returns false. c may have any strides.
template <class T>
bool few_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (c.rows > few_by_dots || b.rows == 0) return false;
    const bool from_memory = b.rows * b.cols * index(sizeof(T)) > cache_sizes().l3;
    if (b.contiguous_rows() && c.contiguous_rows() && c.rows <= (from_memory ? few_by_rows_from_memory : few_by_rows)) {
        in_groups<few_by_rows_from_memory>(c.rows, [&]<int rows>(index) { by_rows<rows>(a, b, c); });
        return true;
    }
    if (b.row_stride != 1 || b.rows < long_dot) return false;
    if (c.rows == 1) {
        one_row_of_dots(a.row(0), b, c.row(0));
        return true;
    }
    if (!a.contiguous_rows()) {  // few numbers: copied into contiguous rows
        T* const rows = scratch<T>(Slot::pack_a, a.rows * a.cols);
        for (index i = 0; i < a.rows; ++i)
            for (index p = 0; p < a.cols; ++p) rows[i * a.cols + p] = a(i, p);
        a = {rows, a.rows, a.cols, a.cols, 1};
    }
    by_dots(a, b, c);
    return true;
}

// The same for a b of few columns.
template <class T>
bool few_columns(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const Matrix<T> turned = c.transposed();
    if (a.row_stride != 1 || turned.contiguous_rows()) return few_rows<T>(b.transposed(), a.transposed(), turned);
    if (c.cols > few_by_rows) return false;
    const Matrix<T> rows = {scratch<T>(Slot::skinny, c.rows * c.cols), c.cols, c.rows, c.rows, 1};
    if (!few_rows<T>(b.transposed(), a.transposed(), rows)) return false;
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) c(i, j) = rows(j, i);
    return true;
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
