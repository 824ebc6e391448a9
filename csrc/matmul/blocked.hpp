// Cache blocking: the loops of reordered, run over blocks that stay in the cache while they are used.
//
// A block of b, inner x cols, is chosen to fill half of the L2 cache. It is fetched once and then used for every row of
// a block of a, instead of streaming all of b past for every row; the row of c that the innermost loop works on, cols
// wide, stays in L1 meanwhile. And the innermost loop takes four rows of b at a time: c is loaded and stored once for
// four multiply-adds instead of once for each, which is worth more than the blocks as long as b still fits in L3. What
// limits it now: five loads and a store for four vector multiply-adds keep the load ports full and the multiply-add
// units half idle. The next rung keeps c in registers for the whole block.
#pragma once

#include "runtime/caches.hpp"
#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct BlockSizes {
    index rows, inner, cols;
};

// The four rows of b and the row of c that the innermost loop reads take 5/8 of L1: cols * sizeof(T) = L1 / 8. b's block,
// inner x cols, takes half of L2. rows bounds how much of a and c is walked before b's next block.
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
        for (index k0 = 0; k0 < a.cols; k0 += inner)
            for (index j0 = 0; j0 < c.cols; j0 += cols) {
                const index i1 = smaller(i0 + rows, c.rows);
                const index k1 = smaller(k0 + inner, a.cols);
                const index j1 = smaller(j0 + cols, c.cols);
                for (index i = i0; i < i1; ++i) {
                    index k = k0;
                    for (; k + 4 <= k1; k += 4)
                        for (index j = j0; j < j1; ++j)
                            c(i, j) += a(i, k) * b(k, j) + a(i, k + 1) * b(k + 1, j) + a(i, k + 2) * b(k + 2, j) +
                                       a(i, k + 3) * b(k + 3, j);
                    for (; k < k1; ++k)
                        for (index j = j0; j < j1; ++j) c(i, j) += a(i, k) * b(k, j);
                }
            }
}

template <class T>
void blocked(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const BlockSizes size = block_sizes<T>();
    blocked_with(a, b, c, size.rows, size.inner, size.cols);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
