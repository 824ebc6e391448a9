// Products with a vector, or a few of them: bound by memory, so the large operand is read once, straight ahead.
//
// With m rows of a, each element of b that is fetched takes part in m multiply-adds. Where m is small, memory and L3
// deliver too slowly to keep the multipliers busy, and a tile that walks down a sliver of b in steps of a row, 256 bytes
// here and 256 bytes there, reads in the worst order. So b is read as it lies:
//
//     contiguous rows       four rows at a time: each row of c += four multiples of them; c's piece stays in L1
//     contiguous columns    dot products, each vector of four of b's columns with the same part of some rows of a
//
// c, or the rows of a, are then read once for four rows or columns of b. These lie a quarter of b apart: of four
// neighbours each ends where the next began, so that the hardware's prefetchers start anew with every row, while a
// quarter apart each goes on where it ended. A single row of a needs no more than one stream of b's columns. There even
// the loads themselves count, and one across two lines takes the time of two: so b is read by whole lines, and what it
// is multiplied with, or added to, is copied beforehand to where its lines begin as b's do.
//
// A product with few columns is the transposed one: cᵀ = bᵀ aᵀ. And where a sum has few products (k <= 4), c is the large
// operand: its rows are written straight ahead, whole cache lines at a time. The limit is the bandwidth of what holds the
// large one.
#pragma once

#include "runtime/caches.hpp"
#include "runtime/scratch.hpp"
#include "matmul/kernel/pack.hpp"
#include "simd/native.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// Rows of a up to which these ways were measured to be the faster ones. With more than 3 rows a tile (register_tiled.hpp) is
// faster than the first, with more than 4 where b comes from memory; but a b with contiguous columns has to be transposed for
// tiles, which the second one saves.
inline constexpr int few_by_rows = 3, few_by_rows_from_memory = 4, few_by_dots = 32;
inline constexpr int long_dot = 64;  // products; adding up the vectors' lanes in the end takes the time of some 10

inline constexpr int streams = 4;  // that the hardware's prefetchers follow at once; 2 and 8 are slower

// Elements from the last multiple of a vector's size, with AVX-512 the start of a cache line, up to here; and from here to
// the next one.
template <class T>
LOOPNEST_INLINE index past_line(const T* at) {
    return index(reinterpret_cast<std::uintptr_t>(at) % vector_bytes / sizeof(T));
}
template <class T>
LOOPNEST_INLINE index until_line(const T* at) {
    return (lanes<T> - past_line(at)) % lanes<T>;
}

// `streams` rows of m from row p on, a `quarter` of m apart.
template <class T>
LOOPNEST_INLINE Matrix<T> rows_apart(Matrix<T> m, index p, index quarter) {
    return {&m(p, 0), streams, m.cols, m.row_stride * quarter, m.col_stride};
}
template <class T>
LOOPNEST_INLINE Matrix<T> cols_apart(Matrix<T> m, index j, index quarter) {
    return rows_apart(m.transposed(), j, quarter).transposed();
}

// c, `rows` high, (+)= a b for an a of `depth` columns. Four vectors of a row of b in succession, since a stream that is read
// a line at a time, in turn with others, is followed at two thirds of the speed.
template <int rows, int depth, class T>
void add_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, bool add) {
    Vec<T> factor[rows][depth];
    for (int i = 0; i < rows; ++i)
        for (int p = 0; p < depth; ++p) factor[i][p] = broadcast(a(i, p));
    const auto part = [&]<int vectors>(index j, auto read, auto write) __attribute__((always_inline)) {
        Vec<T> sum[rows][vectors] = {};
        if (add)
            for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
                for (int v = 0; v < vectors; ++v) sum[i][v] = read(&c(i, j + v * lanes<T>));
#pragma GCC unroll 4
        for (int p = 0; p < depth; ++p)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
                const Vec<T> b_part = read(&b(p, j + v * lanes<T>));
                for (int i = 0; i < rows; ++i) sum[i][v] += factor[i][p] * b_part;
            }
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) write(&c(i, j + v * lanes<T>), sum[i][v]);
    };
    const auto rest = [&](index j, index count) __attribute__((always_inline)) {
        part.template operator()<1>(j, [=](const T* from) { return load_rest(from, count); },
                                    [=](T* to, Vec<T> v) { store_rest<T>(to, v, count); });
    };
    index j = smaller(until_line(b.data), c.cols);
    if (j > 0) rest(0, j);
    for (; j + 4 * lanes<T> <= c.cols; j += 4 * lanes<T>)
        part.template operator()<4>(j, [](const T* from) { return load(from); }, [](T* to, Vec<T> v) { store<T>(to, v); });
    for (; j < c.cols; j += lanes<T>) rest(j, c.cols - j);
}

template <int rows, class T>
void by_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const index quarter = b.rows / streams, past = past_line(b.data);
    const Matrix<T> lined = {scratch<T>(Slot::pack_b, rows * round_up(past + c.cols, lanes<T>)) + past, rows, c.cols,
                             round_up(past + c.cols, lanes<T>), 1};
    const index width = cache_sizes().l1d / 8 / index(sizeof(T));  // of a row; with c's they take at most 3/4 of L1
    for (index j = 0, cols; j < c.cols; j += cols) {
        cols = smaller(width + (j == 0 ? until_line(b.data) : 0), c.cols - j);
        const Matrix<const T> b_piece = b.block(0, j, b.rows, cols);
        const Matrix<T> c_piece = lined.block(0, j, rows, cols);
        for (index p = 0; p < quarter; ++p)
            add_rows<rows, streams>(cols_apart(a, p, quarter), rows_apart(b_piece, p, quarter), c_piece, p > 0);
        for (index p = streams * quarter; p < b.rows; ++p)
            add_rows<rows, 1>(a.block(0, p, rows, 1), b_piece.block(p, 0, 1, cols), c_piece, p > 0);
    }
    for (index i = 0; i < rows; ++i) __builtin_memcpy(&c(i, 0), &lined(i, 0), std::size_t(c.cols) * sizeof(T));
}

// 6 x 4 sums, with 4 vectors of b and one of a beside them, or 2 x 4 of 16 registers; of wide types as many columns as a
// vector has lanes.
inline constexpr int dot_rows = vector_registers == 32 ? 6 : 2;
template <class T>
inline constexpr int dot_cols = lanes<T> < streams ? lanes<T> : streams;

// c(i, j) (+)= a(i, :) b(:, j) for `rows` rows of a and `cols` columns of b, all contiguous.
template <int rows, int cols, class T>
void dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, bool add) {
    Vec<T> sum[rows][cols] = {};
    const auto step = [&](index p, auto read) __attribute__((always_inline)) {
        Vec<T> b_part[cols];
#pragma GCC unroll 4
        for (int j = 0; j < cols; ++j) b_part[j] = read(&b(p, j));
#pragma GCC unroll 6
        for (int i = 0; i < rows; ++i) {
            const Vec<T> a_part = read(&a(i, p));
#pragma GCC unroll 4
            for (int j = 0; j < cols; ++j) sum[i][j] += a_part * b_part[j];
        }
    };
    index p = 0;
    for (; p + lanes<T> <= b.rows; p += lanes<T>) step(p, [](const T* from) { return load(from); });
    const index rest = b.rows - p;
    if (rest > 0) step(p, [=](const T* from) { return load_first(from, rest); });
    for (int i = 0; i < rows; ++i) {
        const Vec<T> total = sums_of_lanes<T>(sum[i]);
        for (int j = 0; j < cols; ++j) c(i, j) = add ? c(i, j) + total[j] : total[j];
    }
}

// group<rows>(i) for 1 to `dot_rows` rows from i on, until all are done.
template <int most = dot_rows, class Group>
LOOPNEST_INLINE void in_groups(index rows, Group group) {
    index i = 0;
    for (; i + most <= rows; i += most) group.template operator()<most>(i);
    if constexpr (most > 1)
        if (i < rows) in_groups<most - 1>(rows - i, [=]<int rows>(index r) { group.template operator()<rows>(i + r); });
}

// One row of a: b is read straight through, a column after the other. 4 sums at once, since each has to wait 4 cycles.
template <class T>
void one_row_of_dots(Vector<const T> a, Matrix<const T> b, Vector<T> c) {
    T* const lined = scratch<T>(Slot::pack_a, a.size + lanes<T>) + past_line(b.data);
    for (index p = 0; p < a.size; ++p) lined[p] = a[p];
    constexpr int sums = 4;
    for (index j = 0; j < b.cols; ++j) {
        const T* const column = &b(0, j);
        Vec<T> sum[sums] = {};
        const auto rest = [&](index p, index count) __attribute__((always_inline)) {
            sum[0] += load_rest(lined + p, count) * load_rest(column + p, count);
        };
        index p = smaller(until_line(column), b.rows);
        if (p > 0) rest(0, p);
        for (; p + sums * lanes<T> <= b.rows; p += sums * lanes<T>)
#pragma GCC unroll 4
            for (int n = 0; n < sums; ++n) sum[n] += load(lined + p + n * lanes<T>) * load(column + p + n * lanes<T>);
        for (; p < b.rows; p += lanes<T>) rest(p, b.rows - p);
        c[j] = sum_of_lanes<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
}

// All rows of a with the same columns of b, before the next columns; where there are so many that b's are read several
// times, in parts of which four columns take half of L1.
template <class T>
void by_dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const index quarter = c.cols / dot_cols<T>, part = cache_sizes().l1d / 2 / (dot_cols<T> * index(sizeof(T)));
    const index depth = c.rows > dot_rows ? part : b.rows;
    const auto columns = [&]<int cols>(Matrix<const T> b, Matrix<T> c) {
        for (index p = 0; p < b.rows; p += depth)
            in_groups(c.rows, [&]<int rows>(index i) {
                const index inner = smaller(depth, b.rows - p);
                dots<rows, cols>(a.block(i, p, rows, inner), b.block(p, 0, inner, cols), c.block(i, 0, rows, cols), p > 0);
            });
    };
    for (index j = 0; j < quarter; ++j)
        columns.template operator()<dot_cols<T>>(cols_apart(b, j, quarter), cols_apart(c, j, quarter));
    for (index j = dot_cols<T> * quarter; j < c.cols; ++j)
        columns.template operator()<1>(b.block(0, j, b.rows, 1), c.block(0, j, c.rows, 1));
}

// c = a b for an a of few rows, if b's layout is one that can be streamed; else nothing is done, and false returned. c may
// have any strides.
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
    if (!a.contiguous_rows()) {  // few numbers: copied into rows
        T* const rows = scratch<T>(Slot::pack_a, a.rows * a.cols);
        for (index i = 0; i < a.rows; ++i)
            for (index p = 0; p < a.cols; ++p) rows[i * a.cols + p] = a(i, p);
        a = {rows, a.rows, a.cols, a.cols, 1};
    }
    by_dots(a, b, c);
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

// c = a b for an a of `depth` columns: a row after the other, stored in whole lines, past the caches where c outgrows them.
// A store across two lines takes the time of two.
template <int depth, bool streamed, class T>
void row_after_row(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index i = 0; i < c.rows; ++i) {
        Vec<T> factor[depth];
        for (int p = 0; p < depth; ++p) factor[p] = broadcast(a(i, p));
        const auto products = [&](index j, auto read) __attribute__((always_inline)) {
            Vec<T> sum = factor[0] * read(&b(0, j));
            for (int p = 1; p < depth; ++p) sum += factor[p] * read(&b(p, j));
            return sum;
        };
        const auto some = [&](index j, index count) __attribute__((always_inline)) {
            store_first<T>(&c(i, j), products(j, [=](const T* from) { return load_first(from, count); }), count);
        };
        index j = smaller(until_line(&c(i, 0)), c.cols);
        if (j > 0) some(0, j);
        for (; j + lanes<T> <= c.cols; j += lanes<T>) {
            const Vec<T> sum = products(j, [](const T* from) { return load(from); });
            streamed ? stream<T>(&c(i, j), sum) : store<T>(&c(i, j), sum);
        }
        if (j < c.cols) some(j, c.cols - j);
    }
    if constexpr (streamed) end_of_stream();
}

// c = a b for an a of few columns and a b of contiguous rows, in pieces of b that stay in L1.
template <class T>
bool few_products(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (b.rows == 0 || b.rows > streams || !b.contiguous_rows()) return false;
    const bool streamed = c.rows * c.cols * index(sizeof(T)) > cache_sizes().l3;
    const index width = cache_sizes().l1d / 2 / (streams * index(sizeof(T)));
    const auto rows_of = [&]<int depth>() {
        for (index j = 0; j < c.cols; j += width) {
            const index cols = smaller(width, c.cols - j);
            const auto piece = streamed ? row_after_row<depth, true, T> : row_after_row<depth, false, T>;
            piece(a, b.block(0, j, depth, cols), c.block(0, j, c.rows, cols));
        }
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
