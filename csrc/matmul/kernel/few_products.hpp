// Products whose sums have at most four terms (k <= 4): c is the large operand, and is written once, straight ahead.
//
//     for j0 in pieces of b's columns             a piece of b stays in L2
//         for i                                   a row of c
//             for j in vectors of the piece       c(i, j) = a(i, 0) b(0, j) + … + a(i, 3) b(3, j)
//
// Whole cache lines are stored. The limit is the bandwidth of the memory that holds c.
#pragma once

#include "matmul/kernel/streams.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// c = a b for an a of `depth` columns, one row after the other.
template <int depth, class T>
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
            store<T>(&c(i, j), products(j, load<T>));
        }
        if (j < c.cols) some(j, c.cols - j);
    }
}

// Whether a has so few columns, b's rows are contiguous, and c's are not short.
template <class T>
bool few_products_suit(Matrix<const T> b, Matrix<T> c) {
    return b.rows > 0 && b.rows <= streams && b.contiguous_rows() && c.cols > tile_cols<T>;
}

template <class T>
void few_products(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const index width = cache_sizes().l2 / 4 / (streams * index(sizeof(T)));
    in_groups<streams>(b.rows, [&]<int depth>(index) {
        for (index j = 0; j < c.cols; j += width) {
            const index cols = smaller(width, c.cols - j);
            row_after_row<depth>(a, b.block(0, j, depth, cols), c.block(0, j, c.rows, cols));
        }
    });
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
