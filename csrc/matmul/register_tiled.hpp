// A tile of c in vector registers: each element of c is stored once, instead of loaded and stored for every four
// products.
//
//     for j0 in steps of 4 vectors
//         for i0 in steps of 6
//             for p                               the micro-kernel (kernel/tile.hpp)
//                 for i, j in the tile            c(i, j) += a(i, p) b(p, j)        24 vectors of sums in registers
//
// The rungs below spend a load or a store on every multiply-add. A core can do two loads, one store and two
// multiply-adds a cycle, so they leave the multipliers idle. A tile of 24 vectors takes 10 loads for 24 multiply-adds:
// the 4 vectors of b's row serve 6 rows of c, and each broadcast element of a serves 4 vectors. All later rungs only
// keep this micro-kernel fed. a and b are read in place, with nothing allocated or copied, so this is the fastest rung
// for small matrices. The limit for large ones is how b is read: the rows of its micro-panel lie a row of b apart.
// Beyond 1024 columns each is in another page, and rows a power of two apart evict one another from the cache.
#pragma once

#include "matmul/kernel/tile.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// Narrow tiles have 8 rows: two multiply-add units with a latency of 4 cycles need 8 independent sums.
template <int vectors>
inline constexpr int tallest = vector_registers == 32 && vectors <= 2 ? 8 : tile_rows;

// c = a b for a c of at most `vectors` vectors, from top to bottom in tiles of `height` rows. The last rows are divided
// evenly: 8 as 4 and 4, not as 6 and 2.
template <int vectors, Reading reading, int height, class T>
void column_of_tiles(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const auto tile = [&]<int rows>(index i) __attribute__((always_inline)) {
        if constexpr (rows <= height)
            multiply_tile<rows, vectors, reading, false, Fetching::nothing, T>(
                {.a = a.block(i, 0, rows, a.cols), .b = b, .c = c.block(i, 0, rows, c.cols), .add = false});
    };
    for (index i = 0, rows; i < c.rows; i += rows) {
        const index left = c.rows - i;
        rows = left >= 2 * height ? height : left <= height ? left : (left + 1) / 2;
        switch (rows) {
            case 1: tile.template operator()<1>(i); break;
            case 2: tile.template operator()<2>(i); break;
            case 3: tile.template operator()<3>(i); break;
            case 4: tile.template operator()<4>(i); break;
            case 5: tile.template operator()<5>(i); break;
            case 6: tile.template operator()<6>(i); break;
            case 7: tile.template operator()<7>(i); break;
            case 8: tile.template operator()<8>(i); break;
        }
    }
}

template <int vectors, class T>
void micro_panel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int tall = tallest<vectors>;
    if (!b.contiguous_rows())
        column_of_tiles<vectors, Reading::gathered, tall>(a, b, c);
    else if (c.cols % lanes<T> != 0)
        column_of_tiles<vectors, Reading::ragged, tall>(a, b, c);
    else
        column_of_tiles<vectors, Reading::whole, tall>(a, b, c);
}

template <class T>
void register_tiled(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index j = 0; j < c.cols; j += tile_cols<T>) {
        const index cols = smaller(tile_cols<T>, c.cols - j);
        const Matrix<const T> b_panel = b.block(0, j, b.rows, cols);
        const Matrix<T> c_panel = c.block(0, j, c.rows, cols);
        if (cols <= lanes<T>)
            micro_panel<1>(a, b_panel, c_panel);
        else if (cols <= 2 * lanes<T>)
            micro_panel<2>(a, b_panel, c_panel);
        else if constexpr (tile_vectors == 4)
            cols <= 3 * lanes<T> ? micro_panel<3>(a, b_panel, c_panel) : micro_panel<4>(a, b_panel, c_panel);
    }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
