// Square tiles, one cache line wide, copied through a small buffer.
//
// A tile is as wide as a cache line, so that every line of the source and of the result that it touches is used whole
// before it leaves the cache: each byte crosses from memory once. The tile is gathered into a buffer of its own first.
// Without that, a matrix whose rows are a power of two bytes apart would have all lines of a tile compete for the same
// few places in L1. The limit is the memory's bandwidth; within L2 it is the single elements that the tile is moved by.
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
