// Short sums: c is the large operand, and is written along bands of rows.
//
//     for j0 in pieces of b's columns             a piece of b stays in L2: where it lies, or packed once
//         for i0 in steps of 6                    a band of rows of c
//             for j in steps of 4 vectors         the micro-kernel (kernel/tile.hpp)
//
// The other algorithms go down c by micro-panels: 256 bytes of a row, then 256 bytes of the next row, which is a page
// further on. With long sums that does not show. With sums of 64 products or less most of the time goes into c, and
// caches, TLB and prefetchers want it straight ahead: 3152 x 7 by 7 x 4096 is two to four times as fast. Stores past the
// caches were slower. A b that spans little is read in place, so that nothing is lost where c is small. The limit is the
// bandwidth of the memory that holds c.
#pragma once

#include "matmul/kernel/block_sizes.hpp"
#include "matmul/kernel/pack.hpp"
#include "runtime/scratch.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

inline constexpr index short_sum = 64, high_enough = 48;  // products; rows of c that make up for packing b

// The elements from b's first row to its last, gaps included, for contiguous rows.
template <class T>
index span(Matrix<const T> b) { return (b.rows - 1) * length(b.row_stride) + b.cols; }

// Whether c = a b is best computed along bands.
template <class T>
bool bands_suit(Matrix<const T> b, Matrix<T> c) {
    const bool in_place_is_no_better = c.cols > tile_cols<T> || !b.contiguous_rows();
    return b.rows <= short_sum && c.rows >= high_enough && in_place_is_no_better;
}

template <class T, class Epilogue>
void row_bands(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue) {
    const index most = cache_sizes().l2 / 2 / (larger(a.cols, 1) * index(sizeof(T)));
    const index width = even_blocks(c.cols, larger(most, tile_cols<T>), tile_cols<T>);
    const bool in_place = b.contiguous_rows() && span(b) * index(sizeof(T)) <= cache_sizes().l2 / 4;
    T* const packed = scratch<T>(Slot::pack_b, (in_place ? tile_cols<T> : width) * a.cols);
    for (index j0 = 0; j0 < c.cols; j0 += width) {
        const index cols = smaller(width, c.cols - j0), whole = cols / tile_cols<T> * tile_cols<T>;
        for (index j = in_place ? whole : 0; j < cols; j += tile_cols<T>)
            pack_b(b.block(0, j0 + j, b.rows, smaller(tile_cols<T>, cols - j)), packed + (in_place ? 0 : j * a.cols));
        for (index i = 0; i < c.rows; i += tile_rows) {
            const index rows = smaller(tile_rows, c.rows - i);
            const auto tile = [&](index j, index wide) __attribute__((always_inline)) -> Tile<T> {
                const Matrix<const T> b_tile = in_place && j < whole
                    ? b.block(0, j0 + j, b.rows, wide)
                    : Matrix<const T>{packed + (in_place ? 0 : j * a.cols), a.cols, wide, packed_width<T>(wide), 1};
                return {a.block(i, 0, rows, a.cols), b_tile, c.block(i, j0 + j, rows, wide), false};
            };
            index j = 0;
            if (rows == tile_rows)
                for (; j < whole; j += tile_cols<T>)
                    multiply_tile<tile_rows, tile_vectors, Reading::whole, false, Fetching::nothing>(
                        tile(j, tile_cols<T>));
            for (; j < cols; j += tile_cols<T>)
                multiply<T, Fetching::nothing>(tile(j, smaller(tile_cols<T>, cols - j)));
            epilogue.apply(i, j0, c.block(i, j0, rows, cols));
        }
    }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
