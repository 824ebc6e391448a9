// A few rows of a by a b with contiguous columns: each element of c is a dot product.
//
//     for j in steps of 4                         four columns of b, a quarter of b apart
//         for i in steps of 6                     rows of a
//             for p in vectors                    6 x 4 sums: sum(i, j) += a(i, p) b(p, j)
//             c(i, j) = the sum of each sum's lanes
//
// b is read once, or, if a has more than 6 rows, a part of four columns stays in L1 for all of them. A single row of a
// needs one stream only: the columns one after the other, or a vector of short ones. The limit is the bandwidth of the memory that holds b.
#pragma once

#include "matmul/kernel/block_sizes.hpp"
#include "matmul/kernel/streams.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// 6 x 4 sums, 4 vectors of b and one of a fit 32 registers, 2 x 4 sums fit 16. sums_of_lanes adds up 1, 2 or 4 sums,
// and at most as many as a vector has lanes.
inline constexpr int dot_rows = vector_registers == 32 ? 6 : 2;
template <class T>
inline constexpr int dot_cols = lanes<T> < streams ? lanes<T> : streams;

// c (+)= a b for `rows` contiguous rows of a and `cols` contiguous columns of b.
template <int rows, int cols, class T>
void dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, bool add) {
    Vec<T> sum[rows][cols == 3 ? 4 : cols] = {};
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

// c = a b for one row a that stays in L1. Four sums at once, since each addition waits 4 cycles for the one before.
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

// c = a b for one row a by short columns: as many at once as a vector has lanes, whose sums become one vector. Adding up
// the lanes of each column by itself takes longer than its few products.
template <class T>
void one_row_of_short_dots(Vector<const T> a, Matrix<const T> b, Vector<T> c) {
    T* const row = scratch<T>(Slot::pack_a, a.size + lanes<T>);
    for (index p = 0; p < a.size; ++p) row[p] = a[p];
    const index whole = c.stride == 1 ? c.size / lanes<T> * lanes<T> : 0, inner = a.size / lanes<T> * lanes<T>;
    for (index j = 0; j < whole; j += lanes<T>) {
        Vec<T> sum[lanes<T>] = {};
        for (index p = 0; p < inner; p += lanes<T>) {
            const Vec<T> a_part = load(row + p);
#pragma GCC unroll 16
            for (int n = 0; n < lanes<T>; ++n) sum[n] += a_part * load(&b(p, j + n));
        }
        if (const index rest = a.size - inner; rest > 0) {
            const Vec<T> a_part = load_first(row + inner, rest);
#pragma GCC unroll 16
            for (int n = 0; n < lanes<T>; ++n) sum[n] += a_part * load_first(&b(inner, j + n), rest);
        }
        store<T>(&c[j], sums_of_lanes<T>(sum));
    }
    for (index j = whole; j < c.size; ++j) {
        T sum = 0;
        for (index p = 0; p < a.size; ++p) sum += a[p] * b(p, j);
        c[j] = sum;
    }
}

// c = a b. If a has more rows than a group, b's columns are cut into parts; four parts take half of L1.
template <class T>
void by_dots(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const index quarter = c.cols / dot_cols<T>, part = cache_sizes().l1d / 2 / (dot_cols<T> * index(sizeof(T)));
    const index depth = c.rows > dot_rows ? even_blocks(b.rows, part, lanes<T>) : b.rows;
    const auto columns = [&]<int cols>(Matrix<const T> b, Matrix<T> c) {
        for (index p = 0; p < b.rows; p += depth)
            in_groups<dot_rows>(c.rows, [&]<int rows>(index i) {
                const index inner = smaller(depth, b.rows - p);
                const Matrix<T> c_part = c.block(i, 0, rows, cols);
                dots<rows, cols>(a.block(i, p, rows, inner), b.block(p, 0, inner, cols), c_part, p > 0);
            });
    };
    for (index j = 0; j < quarter; ++j)
        columns.template operator()<dot_cols<T>>(cols_apart(b, j, quarter), cols_apart(c, j, quarter));
    const index done = dot_cols<T> * quarter;
    in_groups<dot_cols<T>>(c.cols - done, [&]<int cols>(index j) {
        columns.template operator()<cols>(b.block(0, done + j, b.rows, cols), c.block(0, done + j, c.rows, cols));
    });
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
