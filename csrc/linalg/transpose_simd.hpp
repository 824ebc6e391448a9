// Squares of a vector's width, transposed in registers.
//
//     for i0, j0 in steps of 128                  a block touches 128 pages of each matrix at most
//         for j, i in steps of a vector           16 x 16 floats: 16 loads, 64 exchanges, 16 stores
//
// `blocked` moves one element at a time through a buffer. Here a line of a is one load and a line of the result one
// store, and between them each exchange swaps half of two vectors. The squares of a block go along the result's rows,
// so that its lines are filled in order. The limit is the shuffle unit while all is in the caches, and memory beyond.
#pragma once

#include "linalg/transpose_blocked.hpp"
#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA::transpose {

// out = aᵀ for a square of at most lanes x lanes; put(address, vector) stores a whole vector.
template <class T, class Put>
LOOPNEST_INLINE void square(Matrix<const T> a, Matrix<T> out, Put put) {
    Vec<T> v[lanes<T>] = {};
    if (a.rows == lanes<T> && a.cols == lanes<T>) {
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T>; ++i) v[i] = load(&a(i, 0));
        transpose_lanes<T>(v);
#pragma GCC unroll 16
        for (int j = 0; j < lanes<T>; ++j) put(&out(j, 0), v[j]);
        return;
    }
    for (index i = 0; i < a.rows; ++i) v[i] = load_rest(&a(i, 0), a.cols);
    transpose_lanes<T>(v);
    for (index j = 0; j < a.cols; ++j) store_rest<T>(&out(j, 0), v[j], a.rows);
}

template <class T, class Put>
void by_squares(Matrix<const T> a, Matrix<T> out, Put put) {
    if (!a.contiguous_rows()) return blocked(a, out);
    constexpr index step = 128;
    for (index i0 = 0; i0 < a.rows; i0 += step)
        for (index j0 = 0; j0 < a.cols; j0 += step)
            for (index j = j0; j < smaller(j0 + step, a.cols); j += lanes<T>)
                for (index i = i0; i < smaller(i0 + step, a.rows); i += lanes<T>) {
                    const index height = smaller(lanes<T>, a.rows - i), width = smaller(lanes<T>, a.cols - j);
                    square(a.block(i, j, height, width), out.block(j, i, width, height), put);
                }
}

template <class T>
void simd(Matrix<const T> a, Matrix<T> out) {
    by_squares(a, out, [](T* to, Vec<T> v) __attribute__((always_inline)) { store<T>(to, v); });
}

}  // namespace loopnest::LOOPNEST_ISA::transpose
