// Nothing waits: the micro-kernel packs b while it multiplies, reads a in place, and c is prefetched.
//
// Packing as a separate pass moves data while the multipliers stand still. Here the first tile of a micro-panel of b
// reads the rows in place and stores them packed, between its multiply-adds: one store for each of 4 vectors in a step
// of 24 multiply-adds finds the store unit free. Later rows are prefetched. Only a b without contiguous rows is packed
// beforehand, in squares that are transposed in registers. While the tiles of one micro-panel multiply, they prefetch
// the next one into L2, a share each: its first tile would wait for L3 or memory at every step. a is not copied if the
// micro-kernel can walk along its rows: it takes one element of each of 6 rows a step, and hardware prefetchers follow
// 6 streams. An a with contiguous columns is packed, block by block: read in place, its columns lie a page apart. The
// next micro-panel of a and the tile of c are prefetched meanwhile.
//
// Scratch memory, kept by each thread between calls: a panel of b, at most an eighth of L3, or one micro-panel if a has
// no more rows than a block; and for an a with contiguous columns a block of it, at most half of L2. The limit now is
// one core: its multiply-add units are busy 95 to 98 % of the time.
#pragma once

#include "matmul/kernel/panels.hpp"
#include "matmul/packed.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// An epilogue is a struct like this one: what is fused into a product's last pass. The product calls apply(i, j, tile)
// for each tile of c as soon as it is complete and still in L1; (i, j) is the tile's first element in c. If the
// epilogue touches the same elements of another matrix, `other`, the product prefetches them with c's.
struct NoEpilogue {
    // The epilogue of the piece of c that begins at (i, j).
    LOOPNEST_INLINE NoEpilogue of_piece(index, index) const { return {}; }
    template <class T>
    LOOPNEST_INLINE void apply(index, index, Matrix<T>) const {}
};

// Whether the micro-kernel reads a in place: its steps then follow a's rows, or c is so narrow that each element of a
// packed a would serve four tiles at most.
template <class T>
bool read_in_place(Matrix<const T> a, index cols) {
    return length(a.col_stride) <= length(a.row_stride) || cols <= 4 * tile_cols<T>;
}

// c = a b, or c += a b, for a c with contiguous rows, with an epilogue. B is a matrix, or Panels of it.
template <class T, class B = Matrix<const T>, class Epilogue = NoEpilogue>
void multiply_prefetched(Matrix<const T> a, B b, Matrix<T> c, Epilogue epilogue = {}, bool accumulate = false) {
    constexpr bool prepacked = !__is_same(B, Matrix<const T>);
    const auto [height, depth, width] = packed_sizes<T>(c.rows, a.cols, c.cols);
    const bool a_in_place = read_in_place(a, c.cols), b_used_once = c.rows <= height;  // by a's only block
    T* const a_block = a_in_place ? nullptr : scratch<T>(Slot::pack_a, packed_a_step<T>(depth) * height / tile_rows);
    T* const b_panel = scratch<T>(Slot::pack_b, prepacked ? 0 : (b_used_once ? tile_cols<T> : width) * depth);

    // A block of a by a micro-panel of b. The first block to use the micro-panel packs it, with its first tile.
    // Meanwhile each tile prefetches its share of `later`, the next micro-panel.
    const auto multiply_block = [&](Matrix<const T> a_part, Matrix<const T> b_micro_panel, T* packed_b,
                                    Matrix<const T> later, index i0, index j, bool first, bool add, bool last)
        __attribute__((always_inline)) {
        const index inner = a_part.cols, tiles = (a_part.rows + tile_rows - 1) / tile_rows;
        const auto a_panel = [&](index i) __attribute__((always_inline)) -> Matrix<const T> {
            const index rows = smaller(tile_rows, a_part.rows - i);
            if (a_in_place) return a_part.block(i, 0, rows, inner);
            return {a_block + i / tile_rows * packed_a_step<T>(inner), rows, inner, 1, tile_rows};
        };
        for (index i = 0; i < a_part.rows; i += tile_rows) {
            const index next = i + tile_rows < a_part.rows ? i + tile_rows : 0;
            Matrix<const T> b_packed = b_micro_panel;
            if (!prepacked) b_packed = {packed_b, inner, b_packed.cols, packed_width<T>(b_packed.cols), 1};
            Tile<T> tile = {.a = a_panel(i),
                            .b = b_packed,
                            .c = c.block(i0 + i, j, smaller(tile_rows, a_part.rows - i), b_micro_panel.cols),
                            .add = add,
                            .next_a = a_panel(next).data};
            const index n = i / tile_rows, row = n * later.rows / tiles, until = (n + 1) * later.rows / tiles;
            tile.later_b = later.block(row, 0, until - row, later.cols);
            if constexpr (requires { epilogue.other; })
                if (last) {
                    tile.other = &epilogue.other(i0 + i, j);
                    tile.other_row_stride = epilogue.other.row_stride;
                }
            if (!prepacked && first && i == 0 && b.contiguous_rows() && tile.c.rows == tile_rows) {
                tile.b = b_micro_panel;
                tile.packed_b = packed_b;
                multiply_and_pack(tile);
            } else {
                if (!prepacked && first && i == 0) pack_b(b_micro_panel, packed_b);
                multiply(tile);
            }
            if (last) epilogue.apply(i0 + i, j, tile.c);
        }
    };

    const auto block_of_b = [&](index p, index j, index rows, index cols) __attribute__((always_inline)) {
        if constexpr (prepacked)
            return b.matrix(p, j, rows, cols);
        else
            return b.block(p, j, rows, cols);
    };
    for (index j0 = 0; j0 < c.cols; j0 += width)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index p0 = 0; p0 == 0 || p0 < a.cols; p0 += depth)
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index cols = smaller(width, c.cols - j0), inner = smaller(depth, a.cols - p0);
                const Matrix<const T> a_part = a.block(i0, p0, smaller(height, c.rows - i0), inner);
                if (!a_in_place) pack_a(a_part, a_block);
                for (index j = 0; j < cols; j += tile_cols<T>) {
                    const index next = j + tile_cols<T>, width = smaller(tile_cols<T>, cols - next);
                    Matrix<const T> later = {};
                    if (width > 0 && i0 > 0 && !prepacked)
                        later = {b_panel + next * inner, inner, width, packed_width<T>(width), 1};
                    else if (width > 0 && b.contiguous_rows())
                        later = block_of_b(p0, j0 + next, inner, width);
                    multiply_block(a_part, block_of_b(p0, j0 + j, inner, smaller(tile_cols<T>, cols - j)),
                                   b_panel + (b_used_once ? 0 : j * inner), later, i0, j0 + j, i0 == 0,
                                   p0 > 0 || accumulate, p0 + inner >= a.cols);
                }
            }
}

template <class T>
void prefetched(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) { multiply_prefetched(a, b, c); }

}  // namespace loopnest::LOOPNEST_ISA::matmul
