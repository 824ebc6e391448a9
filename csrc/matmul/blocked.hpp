// Cache blocking: the loops of reordered, run over blocks that stay in the cache while they are used.
//
// A block of b, inner x cols, is chosen to fill half of the L2 cache. It is fetched once and then used for every row of
// a block of a, instead of streaming all of b past for every row; the row of c that the innermost loop works on, cols
// wide, stays in L1 meanwhile. b so crosses from memory rows / block_rows times instead of rows times. What limits it
// now is the innermost loop itself: for each vector multiply-add it loads from b and loads and stores c, so the two
// load ports are full while the multiply-add units are half idle. The next rung keeps c in registers.
#pragma once

#include "machine/caches.hpp"
#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct BlockSizes {
    index rows, inner, cols;
};

// A row of b's block and a row of c together take half of L1: 2 * cols * sizeof(T) = L1 / 2. b's block, inner x cols,
// takes half of L2. rows bounds how much of a is walked before b's next block; a is read once whatever it is.
template <class T>
BlockSizes block_sizes() {
    const CacheSizes cache = cache_sizes();
    const index cols = cache.l1d / 2 / (2 * index(sizeof(T)));
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
                for (index i = i0; i < i1; ++i)
                    for (index k = k0; k < k1; ++k)
                        for (index j = j0; j < j1; ++j) c(i, j) += a(i, k) * b(k, j);
            }
}

template <class T>
void blocked(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const BlockSizes size = block_sizes<T>();
    blocked_with(a, b, c, size.rows, size.inner, size.cols);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
