// Packing: slivers of a and b copied into the order in which the micro-kernel reads them.
//
// The copy makes every layout of a and b the same to the micro-kernel, and straight in memory: no step from page to
// page, for each of which the TLB would be asked, and no two rows in the same place of a cache.
#pragma once

#include "matmul/kernel/tile.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// How long a row of a packed sliver of `cols` columns of b is: whole vectors, the rest of the last one zeros.
template <class T>
LOOPNEST_INLINE index packed_width(index cols) {
    return round_up(cols, lanes<T>);
}

// A sliver of b, at most tile_cols wide: to[p][j].
template <class T>
void pack_b_sliver(Matrix<const T> b, T* to) {
    const index width = packed_width<T>(b.cols);
    if (b.row_stride == 1 && b.col_stride != 1) {  // contiguous columns: squares of lanes x lanes, turned in registers
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

// From a packed sliver of a to the next. The 64 bytes more keep the slivers from lying a multiple of 4096 bytes apart, in
// the same place of L1, where as many as are written at a time would not fit.
template <class T>
LOOPNEST_INLINE index packed_a_step(index inner) {
    return inner * tile_rows + 64 / index(sizeof(T));
}

// Slivers of a of tile_rows rows: to[sliver][p][i]. Eight slivers side by side, so that where a's columns are contiguous,
// a cache line of 16 elements is used whole while it is there. Of such a column 8 elements are copied for 6, as two
// instructions do: the next column's, or the gap between slivers, has the place of the last two.
template <class T>
void pack_a(Matrix<const T> a, T* to) {
    const index step = packed_a_step<T>(a.cols), together = 8 * tile_rows, copied = 8;
    static_assert(copied >= tile_rows && (copied - tile_rows) * sizeof(T) <= 64);
    for (index i0 = 0; i0 < a.rows; i0 += together)
        for (index p = 0; p < a.cols; ++p)
            for (index i = i0; i < smaller(i0 + together, a.rows); i += tile_rows) {
                T* const sliver = to + i / tile_rows * step + p * tile_rows;
                __builtin_prefetch(&a(i, p) + steps_ahead * a.col_stride);
                if (i + copied <= a.rows && a.row_stride == 1)
                    copy_elements<copied>(sliver, &a(i, p));
                else
                    for (index row = 0; row < smaller(tile_rows, a.rows - i); ++row) sliver[row] = a(i + row, p);
            }
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
