// Softmax over a row in four passes that stay in L1: the maximum, exp, the sum, the product with its reciprocal.
//
//     y[j] = exp(x[j] - max) / sum over k of exp(x[k] - max)
//
// Subtracting the maximum keeps exp from overflowing and changes nothing else. Four chains of vectors find the maximum,
// since each comparison waits for the one before. One division a row replaces one an element, at a cost of half an ULP.
// The limit for rows that fit in L1 is exp's arithmetic, some 14 operations a vector (simd/math.hpp).
#pragma once

#include "activations/kernel/map.hpp"
#include "simd/math.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace exp {
template <class T>
void simd(Matrix<const T> x, Matrix<T> y) { map(y, [](Vec<T> v) { return exp_of(v); }, x); }
}  // namespace exp

namespace softmax {

// Ignores NaN: the sum brings it back, and with it the whole row.
template <class T>
LOOPNEST_INLINE T largest_of(Vector<const T> row) {
    T largest = row[0];
    index j = 0;
    if (row.contiguous() && row.size >= lanes<T>) {
        Vec<T> chain[4];
        for (Vec<T>& chained : chain) chained = load(row.data);
        for (; j + 4 * lanes<T> <= row.size; j += 4 * lanes<T>)
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) chain[i] = larger_of(load(row.data + j + i * lanes<T>), chain[i]);
        for (; j + lanes<T> <= row.size; j += lanes<T>) chain[0] = larger_of(load(row.data + j), chain[0]);
        chain[0] = larger_of(larger_of(chain[0], chain[1]), larger_of(chain[2], chain[3]));
        for (int lane = 0; lane < lanes<T>; ++lane) largest = chain[0][lane] > largest ? chain[0][lane] : largest;
    }
    for (; j < row.size; ++j) largest = row[j] > largest ? row[j] : largest;
    return largest;
}

// result = exp(row - its largest element); returns the sum.
template <class T>
LOOPNEST_INLINE T exp_of_row(Vector<const T> row, Vector<T> result) {
    const Vec<T> largest = broadcast(largest_of(row));
    map_row(result, [=](Vec<T> v) { return exp_of(v - largest); }, row);
    Vec<T> sums = {};
    index j = 0;
    for (; j + lanes<T> <= result.size; j += lanes<T>) sums += load(result.data + j);
    T sum = sum_of_lanes<T>(sums);
    for (; j < result.size; ++j) sum += result.data[j];
    return sum;
}

template <class T>
void simd(Matrix<const T> x, Matrix<T> y) {
    for (index i = 0; i < x.rows; ++i) {
        const Vector<T> result = y.row(i);
        const T scale = 1 / exp_of_row(x.row(i), result);
        for (index j = 0; j < y.cols; ++j) result.data[j] *= scale;
    }
}

}  // namespace softmax

}  // namespace loopnest::LOOPNEST_ISA
