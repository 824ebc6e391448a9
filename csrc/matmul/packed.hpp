// Packing: blocks of a and b are copied into the order in which they are used, and kept in the cache that suits each.
//
//     for j0 in b's panels                        L3
//         for p0 in steps of inner                pack b's panel
//             for i0 in a's blocks                pack a's block: L2
//                 for j in b's micro-panels       4 vectors wide; passes through L2
//                     for i in a's micro-panels   6 rows: L1
//                         micro-kernel            reads both straight ahead, whatever the layout of a and b
//
// These are the five loops around the micro-kernel of BLIS (Van Zee and van de Geijn, ACM TOMS 2015), after Goto and
// van de Geijn (Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008). kernel/block_sizes.hpp derives the
// sizes. The copies lie in scratch memory. The limit now is the copying itself, during which nothing is multiplied: 5
// to 8 % of the time for 512 x 512 matrices.
#pragma once

#include "matmul/kernel/block_sizes.hpp"
#include "matmul/kernel/pack.hpp"
#include "runtime/scratch.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

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
                pack_b(b.block(p0, j0 + j, inner, smaller(tile_cols<T>, cols - j)), b_panel + j * inner);
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index rows = smaller(height, c.rows - i0);
                pack_a(a.block(i0, p0, rows, inner), a_block);
                for (index j = 0; j < cols; j += tile_cols<T>)
                    for (index i = 0; i < rows; i += tile_rows) {
                        const Matrix<T> tile = c.block(i0 + i, j0 + j, smaller(tile_rows, rows - i),
                                                       smaller(tile_cols<T>, cols - j));
                        const T* const a_panel = a_block + i / tile_rows * packed_a_step<T>(inner);
                        multiply<T>(
                            {.a = {a_panel, tile.rows, inner, 1, tile_rows},
                             .b = {b_panel + j * inner, inner, tile.cols, packed_width<T>(tile.cols), 1},
                             .c = tile, .add = p0 > 0, .next_a = a_panel});
                    }
            }
        }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
