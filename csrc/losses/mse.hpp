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
    const bool contiguous = y.contiguous_rows() && t.contiguous_rows();
    T sum = 0;
    for (index i = 0; i < y.rows; ++i) {
        const Vector<const T> y_row = y.row(i), t_row = t.row(i);
        if (contiguous)
            sum += sum_of_terms<T>(y.cols, [=](index j) {
                const T error = y_row.data[j] - t_row.data[j];
                return error * error;
            });
        else
            sum += sum_of_terms<T>(y.cols, [=](index j) {
                const T error = y_row[j] - t_row[j];
                return error * error;
            });
    }
    return sum;
}

template <class T>
void vectorized(Matrix<const T> y, Matrix<const T> t, T* loss) {
    *loss = sum_of_squares(y, t) / T(y.rows * y.cols);
}

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
