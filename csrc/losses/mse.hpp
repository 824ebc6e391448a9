// The mean squared error, and its gradient with respect to y.
//
//     L = 1/N * sum (y - t)²        dL/dy = 2 (y - t) / N
//
// One pass over both arrays with a subtraction and a multiply-add an element; many accumulators hold the sum
// (linalg/kernel/sum_of_terms.hpp). It reads 8 bytes for 3 operations in float32, so beyond L2 the limit is memory.
#pragma once

#include "linalg/kernel/sum_of_terms.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace mse {

template <class T>
T sum_of_squares(Matrix<const T> y, Matrix<const T> t) {
    const auto square = [](T y, T t) { return (y - t) * (y - t); };
    T sum = 0;
    for (index i = 0; i < y.rows; ++i) sum += sum_over(square, y.row(i), t.row(i));
    return sum;
}

template <class T>
void vectorized(Matrix<const T> y, Matrix<const T> t, T* loss) { *loss = sum_of_squares(y, t) / T(y.rows * y.cols); }

}  // namespace mse

namespace mse_backward {

template <class T>
void vectorized(Matrix<const T> y, Matrix<const T> t, Matrix<T> dy, index count) {
    const T n = T(count);
    for (index i = 0; i < dy.rows; ++i)
        for (index j = 0; j < dy.cols; ++j) dy(i, j) = 2 * (y(i, j) - t(i, j)) / n;
}

}  // namespace mse_backward

}  // namespace loopnest::LOOPNEST_ISA
