// Packing: micro-panels of a and b are copied into the order in which the micro-kernel reads them.
//
// To the micro-kernel all layouts of a and b are then the same, and straight in memory: no step from page to page that
// asks the TLB, and no two rows in the same place of a cache.
#pragma once

#include "matmul/kernel/tile.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// The length of a row in a packed micro-panel of b of `cols` columns: whole vectors, padded with zeros.
template <class T>
LOOPNEST_INLINE index packed_width(index cols) { return round_up(cols, lanes<T>); }

// A micro-panel of b, or any matrix: to[p][j], with rows of `width` elements.
template <class T>
void pack_b(Matrix<const T> b, T* to, index width) {
    if (b.row_stride == 1 && b.col_stride != 1) {  // contiguous columns: transpose squares of lanes x lanes
        for (index j = 0; j < b.cols; j += lanes<T>)
            for (index p = 0; p < b.rows; p += lanes<T>) {
                const index height = smaller(lanes<T>, b.rows - p), count = smaller(lanes<T>, b.cols - j);
                Vec<T> v[lanes<T>] = {};
                for (index lane = 0; lane < count; ++lane)
                    v[lane] = height == lanes<T> ? load(&b(p, j + lane)) : load_first(&b(p, j + lane), height);
                transpose_lanes<T>(v);
                for (index row = 0; row < height; ++row) store<T>(to + (p + row) * width + j, v[row]);
            }
        return;
    }
    for (index p = 0; p < b.rows; ++p)
        for (index j = 0; j < b.cols; j += lanes<T>) {
            const index count = smaller(lanes<T>, b.cols - j);
            store<T>(to + p * width + j, b.col_stride != 1   ? gather(&b(p, j), b.col_stride, count)
                                         : count == lanes<T> ? load(&b(p, j))
                                                             : load_first(&b(p, j), count));
        }
}

template <class T>
LOOPNEST_INLINE void pack_b(Matrix<const T> b, T* to) {
    pack_b(b, to, packed_width<T>(b.cols));
}

// From a packed micro-panel of a to the next. The extra 64 bytes keep the micro-panels from lying a multiple of 4096
// bytes apart: L1 could not hold the eight that are written together.
template <class T>
LOOPNEST_INLINE index packed_a_step(index inner) { return inner * tile_rows + 64 / index(sizeof(T)); }

// Micro-panels of a of tile_rows rows: to[panel][p][i]. Eight are written together, so that if a's columns are
// contiguous, a cache line of 16 elements is used whole while it is in L1. A column holds 6 elements but 8 are copied
// (two vector moves): the extra two land in the next column's slot, or in the gap between micro-panels, and are
// overwritten or ignored.
template <class T>
void pack_a(Matrix<const T> a, T* to) {
    const index step = packed_a_step<T>(a.cols), together = 8 * tile_rows, copied = 8;
    static_assert(copied >= tile_rows && (copied - tile_rows) * sizeof(T) <= 64);
    for (index i0 = 0; i0 < a.rows; i0 += together)
        for (index p = 0; p < a.cols; ++p)
            for (index i = i0; i < smaller(i0 + together, a.rows); i += tile_rows) {
                T* const column = to + i / tile_rows * step + p * tile_rows;
                __builtin_prefetch(&a(i, p) + rows_ahead * a.col_stride);
                if (i + copied <= a.rows && a.row_stride == 1)
                    copy_elements<copied>(column, &a(i, p));
                else
                    for (index row = 0; row < smaller(tile_rows, a.rows - i); ++row) column[row] = a(i + row, p);
            }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
