// A few rows of a by a b with contiguous rows: each row of c is a sum of multiples of b's rows.
//
//     for j0 in pieces of c's columns             a piece of c stays in L1
//         for p in steps of 4                     four rows of b, a quarter of b apart
//             for j in the piece                  c(:, j) += a(:, p) b(p, j) + … for the four
//
// b is read once, straight ahead; a piece of c is loaded and stored once for four rows of b. The limit is the bandwidth
// of the memory that holds b.
#pragma once

#include "matmul/kernel/streams.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// c (+)= a b for a c of `rows` rows and an a of `depth` columns. Four vectors of a row of b are read in succession:
// streams read in turn, a line at a time, reach two thirds of the speed.
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
        part.template operator()<4>(j, load<T>, store<T>);
    for (; j < c.cols; j += lanes<T>) rest(j, c.cols - j);
}

// c = a b for a c of `rows` rows.
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

}  // namespace loopnest::LOOPNEST_ISA::matmul
