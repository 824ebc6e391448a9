// Nothing waits: b is packed by the micro-kernel itself as it multiplies, a is read where it lies, c is fetched early.
//
// Packing as a pass of its own moves data while the multipliers stand still. Here the first tile of a sliver of b reads its
// rows from where they lie and stores them packed, between its multiply-adds: a store for each of 4 vectors in a step of 24
// multiply-adds finds the store unit free, and the rows to come are prefetched. Only a b whose rows are not
// contiguous is packed beforehand, in squares transposed in registers. a is not copied at all where one can walk along its
// rows: the micro-kernel takes one element of each of 6 rows at a step, and 6 streams are what hardware
// prefetchers follow; nor where all of it fits in L2. An a with contiguous columns that does not is packed, block by block.
// The next sliver of a and the tile of c are prefetched meanwhile. Scratch memory: a panel of b, at most an eighth of L3,
// or a sliver of it where a has no more rows than a block; and for an a with contiguous columns a block of it, at most half
// of L2. Each thread keeps it between calls. What limits it now: one core; of its multiply-add units 95 to 98 % are busy.
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
    const auto [height, depth, width] = packed_sizes<T>(c.rows, a.cols, c.cols);
    const bool a_in_place = read_in_place(a), b_used_once = c.rows <= height;  // by one block of a: not to be kept
    T* const a_block = a_in_place ? nullptr : scratch<T>(Slot::pack_a, packed_a_step<T>(depth) * height / tile_rows);
    T* const b_panel = scratch<T>(Slot::pack_b, (b_used_once ? tile_cols<T> : width) * depth);

    // A block of a by a sliver of b. The first to use the sliver packs it, with its first tile.
    const auto multiply_block = [&](Matrix<const T> a_part, Matrix<const T> b_sliver, T* packed_b, index i0, index j,
                                    bool first, bool add, bool last) __attribute__((always_inline)) {
        const index inner = a_part.cols;
        const auto a_sliver = [&](index i) __attribute__((always_inline)) -> Matrix<const T> {
            const index rows = smaller(tile_rows, a_part.rows - i);
            if (a_in_place) return a_part.block(i, 0, rows, inner);
            return {a_block + i / tile_rows * packed_a_step<T>(inner), rows, inner, 1, tile_rows};
        };
        for (index i = 0; i < a_part.rows; i += tile_rows) {
            const index next = i + tile_rows < a_part.rows ? i + tile_rows : 0;
            Tile<T> tile = {.a = a_sliver(i),
                            .b = {packed_b, inner, b_sliver.cols, packed_width<T>(b_sliver.cols), 1},
                            .c = c.block(i0 + i, j, smaller(tile_rows, a_part.rows - i), b_sliver.cols),
                            .add = add,
                            .next_a = a_sliver(next).data};
            if constexpr (requires { finish.beside; })
                if (last) {
                    tile.beside = &finish.beside(i0 + i, j);
                    tile.beside_row_stride = finish.beside.row_stride;
                }
            if (first && i == 0 && b.contiguous_rows()) {
                tile.b = b_sliver;
                tile.packed_b = packed_b;
                b_sliver.cols % lanes<T> ? multiply<Reading::ragged, true>(tile) : multiply<Reading::whole, true>(tile);
            } else {
                if (first && i == 0) pack_b_sliver(b_sliver, packed_b);
                multiply<Reading::whole>(tile);
            }
            if (last) finish(i0 + i, j, tile.c);
        }
    };

    for (index j0 = 0; j0 < c.cols; j0 += width)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index p0 = 0; p0 == 0 || p0 < a.cols; p0 += depth)
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index cols = smaller(width, c.cols - j0), inner = smaller(depth, a.cols - p0);
                const Matrix<const T> a_part = a.block(i0, p0, smaller(height, c.rows - i0), inner);
                if (!a_in_place) pack_a(a_part, a_block);
                for (index j = 0; j < cols; j += tile_cols<T>)
                    multiply_block(a_part, b.block(p0, j0 + j, inner, smaller(tile_cols<T>, cols - j)),
                                   b_panel + (b_used_once ? 0 : j * inner), i0, j0 + j, i0 == 0, p0 > 0 || accumulate,
                                   p0 + inner >= a.cols);
            }
}

template <class T>
void prefetched(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    multiply_prefetched(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
