// Square tiles, one cache line wide, copied through a small buffer.
//
// A tile is as wide as a cache line, so every line of the source and of the result is used whole before it leaves the
// cache: each byte crosses from memory once. The tile is first gathered into a buffer. Without it, if rows are a power
// of two bytes apart, all lines of a tile compete for the same few places in L1. The limit is the memory's bandwidth,
// and within L2 that elements are moved one at a time.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::transpose {

inline constexpr index cache_line = 64;  // bytes, on x86-64 and nearly all of aarch64

template <class T>
void blocked(Matrix<const T> a, Matrix<T> out) {
    constexpr index tile = cache_line / sizeof(T);
    T buffer[tile * tile];
    for (index i0 = 0; i0 < a.rows; i0 += tile)
        for (index j0 = 0; j0 < a.cols; j0 += tile) {
            const index height = smaller(tile, a.rows - i0), width = smaller(tile, a.cols - j0);
            for (index i = 0; i < height; ++i)
                for (index j = 0; j < width; ++j) buffer[j * tile + i] = a(i0 + i, j0 + j);
            for (index j = 0; j < width; ++j)
                for (index i = 0; i < height; ++i) out(j0 + j, i0 + i) = buffer[j * tile + i];
        }
}

}  // namespace loopnest::LOOPNEST_ISA::transpose
