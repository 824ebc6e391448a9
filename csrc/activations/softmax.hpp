// Softmax over a row in three passes that stay in L1: the maximum, exp and its sum, the quotients.
//
//     y[j] = exp(x[j] - max) / sum over k of exp(x[k] - max)
//
// Subtracting the maximum changes nothing but keeps exp from overflowing, and makes its argument 0 or less, which the
// polynomial exp of simd/math.hpp wants. The maximum is a chain of comparisons an element; it carries a NaN on. The limit
// for rows that fit in L1 is exp's arithmetic.
#pragma once

#include "simd/math.hpp"

namespace loopnest::LOOPNEST_ISA::softmax {

template <class T>
T largest_of(Vector<const T> row) {
    T largest = row[0];
    for (index j = 1; j < row.size; ++j) largest = row[j] > largest || row[j] != row[j] ? row[j] : largest;
    return largest;
}

template <class T>
void simd(Matrix<const T> x, Matrix<T> y) {
    for (index i = 0; i < x.rows; ++i) {
        const Vector<const T> row = x.row(i);
        const Vector<T> result = y.row(i);
        const Vec<T> largest = broadcast(largest_of(row));
        map_row(result, [=](Vec<T> v) { return exp_of_nonpositive(v - largest); }, row);
        Vec<T> sums = {};
        index j = 0;
        for (; j + lanes<T> <= y.cols; j += lanes<T>) sums += load(result.data + j);
        T sum = sum_of_lanes<T>(sums);
        for (; j < y.cols; ++j) sum += result[j];
        for (j = 0; j < y.cols; ++j) result[j] /= sum;
    }
}

}  // namespace loopnest::LOOPNEST_ISA::softmax
