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

// Rows of a up to which by_rows was measured to be faster than tiles: 3, or 4 if b comes from memory.
inline constexpr int few_by_rows = 3, few_by_rows_from_memory = 4;

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

// A dot product of fewer products than this spends too much time on adding up the lanes of its vectors, unless a vector
// of them is added up at once. With more rows of a it pays from longer sums on, since tiles then transpose b for more
// rows.
template <class T>
index long_dot(index rows) { return rows == 1 ? 2 : rows <= tile_rows ? 24 : larger(80, rows * lanes<T> / 2); }
inline constexpr index short_dot = 128;

// Up to this many rows or columns dots are faster than transposing an operand for tiles; and up to few_by_dots rows if
// b is too large for that.
inline constexpr int few_by_dots = 32, narrow_by_dots = 12;

// Whether b is streamed: larger than what stays in L2 next to the other operand.
template <class T>
bool streamed(Matrix<const T> b) { return b.rows * b.cols * index(sizeof(T)) > cache_sizes().l2 / 2; }

// Whether c = a b is best computed by dots.
template <class T>
bool dots_suit(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const index few = smaller(c.rows, c.cols), many = larger(c.rows, c.cols);
    if (b.rows < long_dot<T>(few)) return false;
    if (b.row_stride == 1) {
        if (c.rows <= few_by_dots && streamed(b)) return true;
        if (!a.contiguous_rows()) return c.rows <= tile_rows && c.cols > narrow_by_dots;
        return few <= (many < 64 ? few_by_dots : narrow_by_dots);
    }
    // Otherwise b is transposed, which more rows of a pay for.
    const index few_columns = larger(b.rows < 256 ? lanes<T> * 3 / 8 : lanes<T> / 2, 4);
    return a.contiguous_rows() && c.cols <= few_columns && c.rows > few_by_dots;
}

// Whether to compute the dots of cᵀ = bᵀ aᵀ. by_dots reads its second operand once, and the first once for each four
// columns. So the first should have more rows, unless it would be streamed.
template <class T>
bool dots_turned(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (b.row_stride != 1) return true;
    if (!a.contiguous_rows()) return false;
    if (c.rows == 1 || c.cols == 1) return c.cols == 1;
    return c.cols > c.rows ? !streamed(b) : streamed(a);
}

template <class T>
void few_rows_by_dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (c.rows == 1 && a.cols <= short_dot) return one_row_of_short_dots(a.row(0), b, c.row(0));
    if (c.rows == 1 && a.cols * index(sizeof(T)) <= cache_sizes().l1d * 3 / 8)
        return one_row_of_dots(a.row(0), b, c.row(0));
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
