// Nothing waits: b is packed by the micro-kernel itself as it multiplies, a is read where it lies, c is fetched early.
//
// Packing as a pass of its own moves data while the multipliers stand still. Here the first tile of a sliver of b reads its
// rows from where they lie and stores them packed, between its multiply-adds: a store for each of 4 vectors in a step of 24
// multiply-adds finds the store unit free, and the rows to come are prefetched. Only a b whose rows are not
// contiguous is packed beforehand, in squares transposed in registers. a is not copied at all where one can walk along its
// rows: the micro-kernel takes one element of each of 6 rows at a step, and 6 streams are what hardware
// prefetchers follow; nor where all of it fits in L2. An a with contiguous columns that does not is packed, panel by panel.
// The next sliver of a and the tile of c are
// prefetched meanwhile. Scratch memory: a block of b, at most 3/4 of L2, and for an a with contiguous columns a panel of it,
// at most an eighth of L3; each thread keeps it between calls. What limits it now: one core; of its multiply-add units
// 95 to 98 % are busy.
#pragma once

#include "matmul/packed.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// What is done with a tile of c when it is complete: this, or a struct like it. It may have a matrix `beside` too, of which
// it touches the same elements: these are then prefetched with c's.
struct Nothing {
    // For the piece of c that begins at (i0, j0), the same.
    LOOPNEST_INLINE Nothing of_piece(index, index) const { return {}; }
    // The tile begins at (i, j) of c.
    template <class T>
    LOOPNEST_INLINE void operator()(index, index, Matrix<T>) const {}
};

// Whether the micro-kernel reads a where it lies: one can walk along its rows; or all of it fits in L2, and a tile is large
// enough to hide that L1 does not hold it (a step of 24 multiply-adds does, one of 12 was up to 20 % slower).
template <class T>
bool read_in_place(Matrix<const T> a) {
    const auto length = [](index stride) { return stride < 0 ? -stride : stride; };
    return length(a.col_stride) <= length(a.row_stride) ||
           (vector_registers == 32 && a.rows * a.cols * index(sizeof(T)) <= cache_sizes().l2);
}

// c = a b (or c += a b) for a c with contiguous rows, and then finish(i, j, tile) for each tile of c as soon as it is
// complete and still in L1: what is fused into the product's last pass.
template <class T, class Finish = Nothing>
void multiply_prefetched(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Finish finish = {}, bool accumulate = false) {
    const PackedSizes size = packed_sizes<T>();
    const index height = even_blocks(c.rows, size.rows, tile_rows);
    const index depth = even_blocks(a.cols, size.inner, 1);
    const index width = even_blocks(c.cols, size.cols, tile_cols<T>);
    const bool a_in_place = read_in_place(a);
    T* const a_panel = a_in_place ? nullptr : scratch<T>(Slot::pack_a, packed_a_step<T>(depth) * height / tile_rows);
    T* const b_block = scratch<T>(Slot::pack_b, width * depth);

    for (index i0 = 0; i0 < c.rows; i0 += height)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index p0 = 0; p0 == 0 || p0 < a.cols; p0 += depth) {
            const index rows = smaller(height, c.rows - i0), inner = smaller(depth, a.cols - p0);
            const bool last = p0 + inner >= a.cols;
            if (!a_in_place) pack_a(a.block(i0, p0, rows, inner), a_panel);
            const auto a_sliver = [&](index i) -> Matrix<const T> {
                const index sliver_rows = smaller(tile_rows, rows - i);
                if (a_in_place) return a.block(i0 + i, p0, sliver_rows, inner);
                return {a_panel + i / tile_rows * packed_a_step<T>(inner), sliver_rows, inner, 1, tile_rows};
            };
            for (index j0 = 0; j0 < c.cols; j0 += width) {
                const index cols = smaller(width, c.cols - j0);
                for (index i = 0; i < rows; i += tile_rows)
                    for (index j = 0; j < cols; j += tile_cols<T>) {
                        const index tile_width = smaller(tile_cols<T>, cols - j);
                        T* const packed_b = b_block + j * inner;
                        Tile<T> tile = {.a = a_sliver(i),
                                        .b = {packed_b, inner, tile_width, packed_width<T>(tile_width), 1},
                                        .c = c.block(i0 + i, j0 + j, smaller(tile_rows, rows - i), tile_width),
                                        .add = p0 > 0 || accumulate,
                                        .next_a = a_sliver(i + tile_rows < rows ? i + tile_rows : i).data};
                        if constexpr (requires { finish.beside; })
                            if (last) {
                                tile.beside = &finish.beside(i0 + i, j0 + j);
                                tile.beside_row_stride = finish.beside.row_stride;
                            }
                        if (i == 0 && b.contiguous_rows()) {
                            tile.b = b.block(p0, j0 + j, inner, tile_width);
                            tile.packed_b = packed_b;
                            tile_width % lanes<T> ? multiply<Reading::ragged, true>(tile)
                                                  : multiply<Reading::whole, true>(tile);
                        } else {
                            if (i == 0) pack_b_sliver(b.block(p0, j0 + j, inner, tile_width), packed_b);
                            if (tile.c.rows == tile_rows && tile_width == tile_cols<T>)  // nearly always: no call
                                multiply_tile<tile_rows, tile_vectors, Reading::whole, false, Fetching::next_tile>(tile);
                            else
                                multiply<Reading::whole>(tile);
                        }
                        if (last) finish(i0 + i, j0 + j, tile.c);
                    }
            }
        }
}

template <class T>
void prefetched(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    multiply_prefetched(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
