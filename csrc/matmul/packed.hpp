// Packing: blocks of a and b copied into the order in which they are used, and kept in the cache that suits each.
//
// The structure is that of Goto and van de Geijn (Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008), as
// BLIS arranges it in five loops around the micro-kernel (Van Zee and van de Geijn, ACM TOMS 2015). From the inside out:
// a sliver of a, 6 rows, stays in L1 while slivers of b, 4 vectors wide, pass by; these make up a block of b that stays
// in L2 for all slivers of a; these make up a panel of a in L3. The micro-kernel reads both straight ahead, whatever the
// layout of a and b. This implementation copies a and b, block by block, as its method; the copies live in scratch memory
// of a block's size. What limits it now is the copying itself, in which nothing is multiplied: for 512 x 512 matrices
// it takes 5 to 8 % of the time.
#pragma once

#include "machine/caches.hpp"
#include "machine/scratch.hpp"
#include "matmul/pack.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct PackedSizes {
    index rows, inner, cols;
};

// The sizes follow from the caches, by the reasoning of Low, Igual, Smith and Quintana-Ortí (Analytical Modeling Is Enough
// for High-Performance BLIS, ACM TOMS 2016, section 4): what is to stay in a cache of W ways may take all but those that
// are needed for what passes by, one for each stream. Two pass by: in L1 the slivers of b and the tile of c, in L2 the
// slivers of a and c. Of L3, which all cores share, a's panel takes an eighth: higher ones would only take more memory.
//
//     L1:  inner · tile_rows · sizeof(T)  <=  L1 · (W1 - 2) / W1        32 KiB, 8 ways: inner = 1024 floats
//     L2:  inner · cols · sizeof(T)       <=  L2 · (W2 - 2) / W2         1 MiB, 8 ways: cols = 192
//
// Low et al. keep a sliver of b in L1 too, which is right for tiles that are about square. Of this one, 64 floats wide, the
// same formula would leave inner = 96: c loaded and stored every 96 steps. b's sliver is streamed from L2 instead: 256
// bytes for 24 multiply-adds, where L2 gives 32 to 64 bytes a cycle.
template <class T>
PackedSizes packed_sizes() {
    const CacheSizes cache = cache_sizes();
    const index size = sizeof(T), line = 64 / size;
    const index inner = larger(cache.l1d / cache.l1d_ways * (cache.l1d_ways - 2) / (tile_rows * size) / line, 4) * line;
    const index cols = larger(cache.l2 / cache.l2_ways * (cache.l2_ways - 2) / (inner * size) / tile_cols<T>, 1);
    const index rows = larger(cache.l3 / 8 / (inner * size) / tile_rows, 1);
    return {rows * tile_rows, inner, cols * tile_cols<T>};
}

// `whole` in as few blocks of at most `most` as it takes, all of about the same size, a multiple of `step`.
LOOPNEST_INLINE index even_blocks(index whole, index most, index step) {
    const index blocks = larger((whole + most - 1) / most, 1);
    return larger(round_up((whole + blocks - 1) / blocks, step), step);
}

template <class T>
void packed(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const PackedSizes size = packed_sizes<T>();
    const index height = even_blocks(c.rows, size.rows, tile_rows);
    const index depth = even_blocks(a.cols, size.inner, 1);
    const index width = even_blocks(c.cols, size.cols, tile_cols<T>);
    T* const a_panel = scratch<T>(Slot::pack_a, packed_a_step<T>(depth) * height / tile_rows);
    T* const b_block = scratch<T>(Slot::pack_b, width * depth);

    for (index i0 = 0; i0 < c.rows; i0 += height)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index p0 = 0; p0 == 0 || p0 < a.cols; p0 += depth) {
            const index rows = smaller(height, c.rows - i0), inner = smaller(depth, a.cols - p0);
            pack_a(a.block(i0, p0, rows, inner), a_panel);
            for (index j0 = 0; j0 < c.cols; j0 += width) {
                const index cols = smaller(width, c.cols - j0);
                for (index j = 0; j < cols; j += tile_cols<T>)
                    pack_b_sliver(b.block(p0, j0 + j, inner, smaller(tile_cols<T>, cols - j)), b_block + j * inner);
                for (index i = 0; i < rows; i += tile_rows)
                    for (index j = 0; j < cols; j += tile_cols<T>) {
                        const Matrix<T> tile = c.block(i0 + i, j0 + j, smaller(tile_rows, rows - i),
                                                       smaller(tile_cols<T>, cols - j));
                        const T* const a_sliver = a_panel + i / tile_rows * packed_a_step<T>(inner);
                        multiply<Reading::whole, false, T>(
                            {.a = {a_sliver, tile.rows, inner, 1, tile_rows},
                             .b = {b_block + j * inner, inner, tile.cols, packed_width<T>(tile.cols), 1},
                             .c = tile, .add = p0 > 0, .next_a = a_sliver});
                    }
            }
        }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
