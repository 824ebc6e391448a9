// A tile of c in vector registers: each element of c is loaded and stored once, instead of once for every four products.
//
//     c[i][j] = sum over p of a[i][p] * b[p][j]        for a tile of 6 rows i and 4 vectors of columns j at a time
//
// The rungs below spend a load or a store on every multiply-add; a core has units for two loads, one store and two
// multiply-adds a cycle, so they leave the multipliers idle. A tile of 24 vectors takes 10 loads for 24 multiply-adds: the
// 4 vectors of b's row serve 6 rows of c, and each broadcast element of a 4 vectors. This is the whole trick of a fast
// product; all that follows on this ladder only keeps the micro-kernel (matmul/tile.hpp) fed. a and b are read where they
// lie, with nothing allocated or copied, which makes this the fastest way for small matrices. What limits it for large
// ones is how b is read: the rows of its sliver lie a row of b apart. Beyond 1024 columns each lies in another page, the
// TLB has to be asked for each, and those a power of two apart push one another out of the cache.
#pragma once

#include "matmul/kernel/tile.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// A store waits in the store queue until its sum is complete. The 24 vectors of a whole tile do not fit there (on Zen 4
// some 16 of 64 bytes do), so that the next tile waits too: 80 cycles for each tile, measured. A tile of 4 x 4 shows no
// such wait, but reads b more often; below this many products to a sum it is the faster one.
inline constexpr index long_sum = 256;

// c, as many vectors wide, from top to bottom.
template <int vectors, Reading reading, int height, class T>
void column_of_tiles(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const auto tile = [&]<int rows>(index i) __attribute__((always_inline)) {
        multiply_tile<rows, vectors, reading, false, Fetching::nothing, T>(
            {.a = a.block(i, 0, rows, a.cols), .b = b, .c = c.block(i, 0, rows, c.cols), .add = false});
    };
    const auto last = [&](index i, index rows) __attribute__((always_inline)) {
        switch (rows) {
            case 5: if constexpr (height > 5) return tile.template operator()<5>(i);
            case 4: if constexpr (height > 4) return tile.template operator()<4>(i);
            case 3: return tile.template operator()<3>(i);
            case 2: return tile.template operator()<2>(i);
            case 1: return tile.template operator()<1>(i);
        }
    };
    index i = 0;
    for (; c.rows - i >= 2 * height || c.rows - i == height; i += height) tile.template operator()<height>(i);
    const index first = c.rows - i > height ? (c.rows - i + 1) / 2 : c.rows - i;  // 8 rows as 4 and 4, rather than 6 and 2
    first == height ? tile.template operator()<height>(i) : last(i, first);
    last(i + first, c.rows - i - first);
}

template <int vectors, class T>
void sliver(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int low = vectors > 2 ? 4 : tile_rows;
    if (!b.contiguous_rows())
        column_of_tiles<vectors, Reading::gathered, tile_rows>(a, b, c);
    else if (c.cols % lanes<T> != 0)
        column_of_tiles<vectors, Reading::ragged, low>(a, b, c);
    else if (a.cols < long_sum)
        column_of_tiles<vectors, Reading::whole, low>(a, b, c);
    else
        column_of_tiles<vectors, Reading::whole, tile_rows>(a, b, c);
}

template <class T>
void register_tiled(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    for (index j = 0; j < c.cols; j += tile_cols<T>) {
        const index cols = smaller(tile_cols<T>, c.cols - j);
        const Matrix<const T> b_sliver = b.block(0, j, b.rows, cols);
        const Matrix<T> c_sliver = c.block(0, j, c.rows, cols);
        if (cols <= lanes<T>)
            sliver<1>(a, b_sliver, c_sliver);
        else if (cols <= 2 * lanes<T>)
            sliver<2>(a, b_sliver, c_sliver);
        else if constexpr (tile_vectors == 4)
            cols <= 3 * lanes<T> ? sliver<3>(a, b_sliver, c_sliver) : sliver<4>(a, b_sliver, c_sliver);
    }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
