// Strided views: how every kernel sees a matrix or a vector.
//
// element (i, j) lies at data[i * row_stride + j * col_stride], in elements. A row-major matrix has col_stride 1, a
// column-major one row_stride 1; a transposed view swaps the two, a negative stride walks backwards, a zero stride
// repeats. So one kernel serves every layout, and comparing layouts measures the layout and not a hidden copy.
#pragma once

#include <cstddef>
#include <cstdint>

// Each kernel is compiled once for every ISA level, in a namespace of that level. A function that several levels share
// must never be emitted out of line: the linker keeps one copy, and could keep the one with AVX-512.
#define LOOPNEST_INLINE inline __attribute__((always_inline))

#ifndef LOOPNEST_ISA
#define LOOPNEST_ISA native
#endif

namespace loopnest {

using index = std::ptrdiff_t;

template <class T>
struct Vector {
    T* data;
    index size;
    index stride;

    LOOPNEST_INLINE T& operator[](index i) const { return data[i * stride]; }
    LOOPNEST_INLINE bool contiguous() const { return stride == 1 || size <= 1; }
    LOOPNEST_INLINE Vector from(index i) const { return {data + i * stride, size - i, stride}; }
};

template <class T>
struct Matrix {
    T* data;
    index rows, cols;
    index row_stride, col_stride;

    LOOPNEST_INLINE T& operator()(index i, index j) const { return data[i * row_stride + j * col_stride]; }
    LOOPNEST_INLINE bool contiguous_rows() const { return col_stride == 1 || cols <= 1; }

    LOOPNEST_INLINE Matrix transposed() const { return {data, cols, rows, col_stride, row_stride}; }
    LOOPNEST_INLINE Vector<T> row(index i) const { return {data + i * row_stride, cols, col_stride}; }
    LOOPNEST_INLINE Matrix block(index i, index j, index height, index width) const {
        return {data + i * row_stride + j * col_stride, height, width, row_stride, col_stride};
    }
    LOOPNEST_INLINE operator Matrix<const T>() const { return {data, rows, cols, row_stride, col_stride}; }
};

// Matrices of one shape, `step` elements apart; with a step of 0 all are the same one.
template <class T>
struct Stack {
    T* data;
    index count, rows, cols;
    index step, row_stride, col_stride;

    LOOPNEST_INLINE Matrix<T> operator[](index s) const {
        return {data + s * step, rows, cols, row_stride, col_stride};
    }
    // Whether the matrices' rows follow each other at one distance, so that all are one tall matrix.
    LOOPNEST_INLINE bool is_tall_matrix() const { return count == 1 || step == rows * row_stride; }
    LOOPNEST_INLINE Matrix<T> as_tall_matrix() const { return {data, count * rows, cols, row_stride, col_stride}; }
};

LOOPNEST_INLINE constexpr index smaller(index a, index b) { return a < b ? a : b; }
LOOPNEST_INLINE constexpr double smaller(double a, double b) { return a < b ? a : b; }
LOOPNEST_INLINE constexpr index larger(index a, index b) { return a < b ? b : a; }
LOOPNEST_INLINE constexpr index length(index stride) { return stride < 0 ? -stride : stride; }
LOOPNEST_INLINE constexpr index round_up(index n, index step) { return (n + step - 1) / step * step; }

}  // namespace loopnest
