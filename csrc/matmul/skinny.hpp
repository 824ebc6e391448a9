// Products with a vector, or a few of them: bound by memory, so the large operand is read once, straight ahead.
//
// With m rows of a, each element of b that is fetched takes part in m multiply-adds. Where m is small, memory and L3
// deliver too slowly to keep the multipliers busy, and a tile that walks down a sliver of b in steps of a row, 256 bytes
// here and 256 bytes there, reads in the worst order. So b is read as it lies:
//
//     contiguous rows       four rows side by side: each row of c += four multiples of them; c's piece stays in L1
//     contiguous columns    dot products, each vector of b's column with the same part of every row of a
//
// A product with few columns is the transposed one: cᵀ = bᵀ aᵀ. And where a sum has few products (k <= 4), c is the large
// operand: its rows are written straight ahead. The limit is the bandwidth of what holds the large one.
#pragma once

#include "machine/caches.hpp"
#include "machine/scratch.hpp"
#include "matmul/pack.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// Rows of a up to which these ways were measured to be the faster ones. From 3 rows on a tile (register_tile.hpp) is faster
// than the first; but a b with contiguous columns has to be transposed for tiles, which the second one saves.
inline constexpr int few_by_rows = 2, few_by_dots = 8;
inline constexpr int long_dot = 64;  // products; adding up a vector's lanes in the end takes the time of some 10

inline constexpr int rows_together = 4;    // streams that the hardware's prefetchers follow at once; 2 and 8 are slower

// A piece of c, `rows` high, += the product of a's columns and b's rows from p to p + depth. `ahead`: whether to ask for b's
// next rows.
template <int rows, int depth, bool ahead, class T>
void add_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index p, bool add) {
    Vec<T> factor[rows][depth];
    for (int i = 0; i < rows; ++i)
        for (int q = 0; q < depth; ++q) factor[i][q] = broadcast(a(i, p + q));
    for (index j = 0; j < c.cols; j += lanes<T>) {
        const index count = smaller(lanes<T>, c.cols - j);
        Vec<T> b_row[depth];
        for (int q = 0; q < depth; ++q) {
            b_row[q] = load_rest(&b(p + q, j), count);
            if constexpr (ahead) __builtin_prefetch(&b(p + q, j) + depth * b.row_stride, 0, 2);
        }
        for (int i = 0; i < rows; ++i) {
            Vec<T> sum = add ? load_rest(&c(i, j), count) : Vec<T>{};
            for (int q = 0; q < depth; ++q) sum += factor[i][q] * b_row[q];
            store_rest<T>(&c(i, j), sum, count);
        }
    }
}

// For one row of a the hardware's prefetchers bring b's rows from L3 in time, and asking for them too costs a seventh; c's
// piece then has to survive in L1 while four rows of b go through. From memory they are late, and long pieces are better.
template <int rows, class T>
void by_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const CacheSizes cache = cache_sizes();
    const bool ahead = rows > 1 || b.rows * b.cols * index(sizeof(T)) > cache.l3 / 2;
    const index bytes = cache.l1d / (ahead ? 2 : 8);
    const index width = larger(bytes / (rows * index(sizeof(T))) / lanes<T>, 1) * lanes<T>;
    const auto add = ahead ? add_rows<rows, rows_together, true, T> : add_rows<rows, rows_together, false, T>;
    for (index j = 0; j < c.cols; j += width) {
        const index cols = smaller(width, c.cols - j);
        const Matrix<const T> b_piece = b.block(0, j, b.rows, cols);
        const Matrix<T> c_piece = c.block(0, j, rows, cols);
        index p = 0;
        for (; p + rows_together <= b.rows; p += rows_together) add(a, b_piece, c_piece, p, p > 0);
        for (; p < b.rows; ++p) add_rows<rows, 1, false>(a, b_piece, c_piece, p, p > 0);
    }
}

// c(i, j) for `rows` rows of a and `cols` columns of b, all contiguous.
template <int rows, int cols, class T>
void dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    Vec<T> sum[rows][cols] = {};
    const auto step = [&](index p, auto read) __attribute__((always_inline)) {
        Vec<T> b_part[cols];
        for (int j = 0; j < cols; ++j) b_part[j] = read(&b(p, j));
        for (int i = 0; i < rows; ++i) {
            const Vec<T> a_part = read(&a(i, p));
            for (int j = 0; j < cols; ++j) sum[i][j] += a_part * b_part[j];
        }
    };
    index p = 0;
    for (; p + lanes<T> <= b.rows; p += lanes<T>) step(p, [](const T* from) { return load(from); });
    const index rest = b.rows - p;
    if (rest > 0) step(p, [=](const T* from) { return load_first(from, rest); });
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < cols; ++j) c(i, j) = sum_of_lanes<T>(sum[i][j]);
}

// One row of a: b is read straight through, a column after the other. 8 sums at once, since each has to wait 4 cycles.
template <class T>
void one_row_of_dots(const T* a, Matrix<const T> b, Vector<T> c) {
    constexpr int sums = 8;
    for (index j = 0; j < b.cols; ++j) {
        const T* const column = &b(0, j);
        Vec<T> sum[sums] = {};
        index p = 0;
        for (; p + sums * lanes<T> <= b.rows; p += sums * lanes<T>)
#pragma GCC unroll 8
            for (int n = 0; n < sums; ++n) sum[n] += load(a + p + n * lanes<T>) * load(column + p + n * lanes<T>);
        for (; p < b.rows; p += lanes<T>) sum[0] += load_rest(a + p, b.rows - p) * load_rest(column + p, b.rows - p);
        for (int n = 1; n < sums; ++n) sum[0] += sum[n];
        c[j] = sum_of_lanes<T>(sum[0]);
    }
}

template <int rows, class T>
void by_dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    index j = 0;
    for (; j + rows_together <= c.cols; j += rows_together)
        dots<rows, rows_together>(a, b.block(0, j, b.rows, rows_together), c.block(0, j, rows, rows_together));
    for (; j < c.cols; ++j) dots<rows, 1>(a, b.block(0, j, b.rows, 1), c.block(0, j, rows, 1));
}

// For 1 to 8 rows: groups of 4, so that the sums (4 x 4), or the factors, stay in registers.
template <class Group>
LOOPNEST_INLINE void in_groups(index rows, Group group) {
    index i = 0;
    for (; i + 4 <= rows; i += 4) group.template operator()<4>(i);
    switch (rows - i) {
        case 3: return group.template operator()<3>(i);
        case 2: return group.template operator()<2>(i);
        case 1: return group.template operator()<1>(i);
    }
}

// c = a b for an a of few rows, if b's layout is one that can be streamed; else nothing is done, and false returned. c may
// have any strides.
template <class T>
bool few_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (c.rows > few_by_dots || b.rows == 0) return false;
    if (b.contiguous_rows() && c.contiguous_rows() && c.rows <= few_by_rows) {
        in_groups(c.rows, [&]<int rows>(index i) {
            by_rows<rows>(a.block(i, 0, rows, a.cols), b, c.block(i, 0, rows, c.cols));
        });
        return true;
    }
    if (b.row_stride != 1 || b.rows < long_dot) return false;
    if (!a.contiguous_rows()) {  // few numbers: copied into rows
        T* const rows = scratch<T>(Slot::pack_a, a.rows * a.cols);
        for (index i = 0; i < a.rows; ++i)
            for (index p = 0; p < a.cols; ++p) rows[i * a.cols + p] = a(i, p);
        a = {rows, a.rows, a.cols, a.cols, 1};
    }
    if (c.rows == 1) {
        one_row_of_dots(a.data, b, c.row(0));
        return true;
    }
    in_groups(c.rows, [&]<int rows>(index i) {
        by_dots<rows>(a.block(i, 0, rows, a.cols), b, c.block(i, 0, rows, c.cols));
    });
    return true;
}

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

// c = a b for an a of few columns and a b of contiguous rows.
template <class T>
bool few_products(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (b.rows == 0 || b.rows > rows_together || !b.contiguous_rows()) return false;
    const auto rows_of = [&]<int depth>() {
        in_groups(c.rows, [&]<int rows>(index i) {
            add_rows<rows, depth, false>(a.block(i, 0, rows, a.cols), b, c.block(i, 0, rows, c.cols), 0, false);
        });
    };
    switch (b.rows) {
        case 1: rows_of.template operator()<1>(); break;
        case 2: rows_of.template operator()<2>(); break;
        case 3: rows_of.template operator()<3>(); break;
        case 4: rows_of.template operator()<4>(); break;
    }
    return true;
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
