// Packing: blocks of a and b copied into the order in which they are used, and kept in the cache that suits each.
//
// The structure is that of Goto and van de Geijn (Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008), as
// BLIS arranges it in five loops around the micro-kernel (Van Zee and van de Geijn, ACM TOMS 2015). From the outside in: a
// panel of b, in L3; a block of a, in L2; a sliver of the panel, 4 vectors wide, which comes into L2 beside it; a sliver of
// the block, 6 rows, which the micro-kernel multiplies by that. It reads both straight ahead, whatever the layout of a and
// b. This implementation copies a and b, block by block, as its method; the copies live in scratch memory of their size.
// What limits it now is the copying itself, in which nothing is multiplied: for 512 x 512 matrices it takes 5 to 8 % of
// the time.
#pragma once

#include "runtime/caches.hpp"
#include "runtime/scratch.hpp"
#include "matmul/kernel/pack.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct PackedSizes {
    index rows, inner, cols;  // of a's block, of both, of b's panel
};

// `whole` in as few blocks of at most `most` as it takes, all of about the same size, a multiple of `step`.
LOOPNEST_INLINE index even_blocks(index whole, index most, index step) {
    const index blocks = larger((whole + most - 1) / most, 1);
    return larger(round_up((whole + blocks - 1) / blocks, step), step);
}

// The sizes follow from the caches, by the reasoning of Low, Igual, Smith and Quintana-Ortí (Analytical Modeling Is Enough
// for High-Performance BLIS, ACM TOMS 2016, section 4): what is to stay in a cache of W ways may take all but those that
// are needed for what passes by, one for each stream. In L1 a sliver of a stays, while b's sliver and the tile of c pass
// by. In L2 it is a's block, half of it; b's sliver takes a quarter, and what passes by is the next sliver, and c. Of L3,
// which all cores share, b's panel takes an eighth: wider ones were measured to be no faster, and take more memory.
//
//     L1:  inner · tile_rows · sizeof(T)  <=  L1 · (W1 - 2) / W1        32 KiB, 8 ways: inner = 1024 floats
//     L2:  rows · inner · sizeof(T)       <=  L2 / 2                     1 MiB: rows = 128, more where inner is less
//     L3:  inner · cols · sizeof(T)       <=  L3 / 8                     32 MiB: cols = 1024, likewise
//
// Low et al. keep b's sliver in L1 too, which is right for tiles that are about square. Of this one, 64 floats wide, the
// same formula would leave inner = 96: c loaded and stored every 96 steps. b's sliver is streamed from L2 instead: 256
// bytes for 24 multiply-adds, where L2 gives 32 to 64 bytes a cycle.
//
// Low blocks have a reason beside the caches, the TLB. The rows of a and c lie a page or more apart, and with b in L2
// and all of a passing by, as this rung once had it, 2048 x 2048 matrices touched some 110,000 pages anew, for many of which
// the processor walks the page table (100 ns each on a virtual machine). This way it is half of them.
template <class T>
PackedSizes packed_sizes(index m, index k, index n) {
    const CacheSizes cache = cache_sizes();
    const index size = sizeof(T);
    const index inner = even_blocks(k, larger(cache.l1d / cache.l1d_ways * (cache.l1d_ways - 2) / (tile_rows * size), 64), 1);
    const index rows = even_blocks(m, larger(cache.l2 / 2 / (inner * size), tile_rows), tile_rows);
    const index cols = even_blocks(n, larger(cache.l3 / 8 / (inner * size), tile_cols<T>), tile_cols<T>);
    return {rows, inner, cols};
}

template <class T>
void packed(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const auto [height, depth, width] = packed_sizes<T>(c.rows, a.cols, c.cols);
    T* const a_block = scratch<T>(Slot::pack_a, packed_a_step<T>(depth) * height / tile_rows);
    T* const b_panel = scratch<T>(Slot::pack_b, width * depth);

    for (index j0 = 0; j0 < c.cols; j0 += width)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index p0 = 0; p0 == 0 || p0 < a.cols; p0 += depth) {
            const index cols = smaller(width, c.cols - j0), inner = smaller(depth, a.cols - p0);
            for (index j = 0; j < cols; j += tile_cols<T>)
                pack_b_sliver(b.block(p0, j0 + j, inner, smaller(tile_cols<T>, cols - j)), b_panel + j * inner);
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index rows = smaller(height, c.rows - i0);
                pack_a(a.block(i0, p0, rows, inner), a_block);
                for (index j = 0; j < cols; j += tile_cols<T>)
                    for (index i = 0; i < rows; i += tile_rows) {
                        const Matrix<T> tile = c.block(i0 + i, j0 + j, smaller(tile_rows, rows - i),
                                                       smaller(tile_cols<T>, cols - j));
                        const T* const a_sliver = a_block + i / tile_rows * packed_a_step<T>(inner);
                        multiply<Reading::whole, false, T>(
                            {.a = {a_sliver, tile.rows, inner, 1, tile_rows},
                             .b = {b_panel + j * inner, inner, tile.cols, packed_width<T>(tile.cols), 1},
                             .c = tile, .add = p0 > 0, .next_a = a_sliver});
                    }
            }
        }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
