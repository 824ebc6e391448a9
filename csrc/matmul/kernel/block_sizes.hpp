// Block sizes, computed from the cache sizes.
//
// The reasoning is by Low, Igual, Smith and Quintana-Ortí (Analytical Modeling Is Enough for High-Performance BLIS, ACM
// TOMS 2016, section 4): data that is to stay in a cache leaves room for the streams that pass by. In L1 a micro-panel
// of a takes three eighths, while b's micro-panel and the tile of c pass by. In L2 a's block takes half, b's micro-panel
// a quarter; the next micro-panel and c pass by. b's panel takes an eighth of L3, which all cores share: wider panels
// were measured to be no faster, and take more memory.
//
//     L1:  inner · tile_rows · sizeof(T)  <=  L1 · 3 / 8        32 KiB: inner = 512 floats
//     L2:  rows · inner · sizeof(T)       <=  L2 / 2             1 MiB: rows = 256, more if inner is less
//     L3:  inner · cols · sizeof(T)       <=  L3 / 8             32 MiB: cols = 2048, more if inner is less
//
// Low et al. keep b's micro-panel in L1 too, which is right for tiles that are about square. For a tile 64 floats wide
// their formula gives inner = 96: c is loaded and stored every 96 steps. Here b's micro-panel is streamed from L2
// instead: 256 bytes for 24 multiply-adds, where L2 delivers 32 to 64 bytes a cycle.
//
// Low blocks also save TLB misses. The rows of a and c lie a page or more apart. With b in L2 and all of a passing by,
// 2048 x 2048 matrices touched some 110,000 pages anew, and for many of them the processor walks the page table (100 ns
// each on a virtual machine). With these blocks it is half of them.
#pragma once

#include "matmul/kernel/tile.hpp"
#include "runtime/caches.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct PackedSizes {
    index rows, inner, cols;  // of a's block, of both, of b's panel
};

// `whole` in as few blocks of at most `most` as possible, all of about the same size, a multiple of `step`.
LOOPNEST_INLINE index even_blocks(index whole, index most, index step) {
    const index blocks = larger((whole + most - 1) / most, 1);
    return larger(round_up((whole + blocks - 1) / blocks, step), step);
}

template <class T>
PackedSizes packed_sizes(index m, index k, index n) {
    const CacheSizes cache = cache_sizes();
    const index size = sizeof(T), inner = even_blocks(k, larger(cache.l1d * 3 / 8 / (tile_rows * size), 64), 1);
    const index rows = even_blocks(m, larger(cache.l2 / 2 / (inner * size), tile_rows), tile_rows);
    const index cols = even_blocks(n, larger(cache.l3 / 8 / (inner * size), tile_cols<T>), tile_cols<T>);
    return {rows, inner, cols};
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
