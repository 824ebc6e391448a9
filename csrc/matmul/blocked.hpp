// Cache blocking: the loops of reordered, over blocks that stay in the cache while they are used.
//
// A block of b, inner x cols, fills half of the L2 cache. It is fetched once and used for every row of a block of a,
// instead of streaming all of b past for every row. The row of c that the innermost loop updates, cols wide, stays in
// L1. And the innermost loop takes four rows of b at a time: c is loaded and stored once for four multiply-adds instead
// of once for each. As long as b fits in L3 that is worth more than the blocks. The limit: five loads and a store for
// four vector multiply-adds keep the load ports full and the multiply-add units half idle. The next rung keeps c in
// registers for the whole block.
#pragma once

#include "runtime/caches.hpp"
#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct BlockSizes {
    index rows, inner, cols;
};

// The four rows of b and the row of c in the innermost loop take 5/8 of L1: cols * sizeof(T) = L1 / 8. b's block, inner
// x cols, takes half of L2. rows bounds how much of a and c is walked before b's next block.
template <class T>
BlockSizes block_sizes() {
    const CacheSizes cache = cache_sizes();
    const index cols = cache.l1d / 8 / index(sizeof(T));
    const index inner = cache.l2 / 2 / (cols * index(sizeof(T)));
    return {512, larger(inner, 1), larger(cols, 1)};
}

template <class T>
void blocked_with(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index rows, index inner, index cols) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) c(i, j) = 0;
    for (index i0 = 0; i0 < c.rows; i0 += rows)
        for (index p0 = 0; p0 < a.cols; p0 += inner)
            for (index j0 = 0; j0 < c.cols; j0 += cols) {
                const index i1 = smaller(i0 + rows, c.rows);
                const index p1 = smaller(p0 + inner, a.cols);
                const index j1 = smaller(j0 + cols, c.cols);
                for (index i = i0; i < i1; ++i) {
                    index p = p0;
                    for (; p + 4 <= p1; p += 4)
                        for (index j = j0; j < j1; ++j)
                            c(i, j) += a(i, p) * b(p, j) + a(i, p + 1) * b(p + 1, j) + a(i, p + 2) * b(p + 2, j) +
                                       a(i, p + 3) * b(p + 3, j);
                    for (; p < p1; ++p)
                        for (index j = j0; j < j1; ++j) c(i, j) += a(i, p) * b(p, j);
                }
            }
}

template <class T>
void blocked(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const BlockSizes size = block_sizes<T>();
    blocked_with(a, b, c, size.rows, size.inner, size.cols);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
