// Softmax and cross-entropy in one, and the gradient with respect to the logits.
//
//     L = 1/N * sum over rows of ( log(sum over j of exp(l[j] - max)) - (l[label] - max) )
//     dL/dl = (softmax(l) - onehot(label)) / N
//
// Subtracting the row's maximum keeps exp from overflowing and changes nothing else. The loss needs only the logarithm
// of softmax, so no small probability is rounded to zero before its log is taken. Each row is passed over twice while
// it is in L1, for the maximum and for the sum. The limit is the C library's exp, one element at a time: 3 to 5 ns
// each.
#pragma once

#include "simd/libm.hpp"

namespace loopnest::LOOPNEST_ISA {

// NaN if any element is NaN, as the sum would be.
template <class T>
LOOPNEST_INLINE T largest_of(Vector<const T> row) {
    T largest = row[0];
    for (index j = 1; j < row.size; ++j) largest = row[j] > largest || row[j] != row[j] ? row[j] : largest;
    return largest;
}

namespace cross_entropy {

template <class T>
void scalar(Matrix<const T> logits, Vector<const std::int64_t> labels, T* loss) {
    T total = 0;
    for (index i = 0; i < logits.rows; ++i) {
        const Vector<const T> row = logits.row(i);
        const T largest = largest_of(row);
        T sum = 0;
        for (index j = 0; j < row.size; ++j) sum += exp_libm(row[j] - largest);
        total += log_libm(sum) - (row[labels[i]] - largest);
    }
    *loss = total / T(logits.rows);
}

}  // namespace cross_entropy

namespace cross_entropy_backward {

template <class T>
void scalar(Matrix<const T> logits, Vector<const std::int64_t> labels, Matrix<T> dlogits) {
    const T n = T(logits.rows);
    for (index i = 0; i < logits.rows; ++i) {
        const Vector<const T> row = logits.row(i);
        const Vector<T> gradient = dlogits.row(i);
        const T largest = largest_of(row);
        T sum = 0;
        for (index j = 0; j < row.size; ++j) sum += gradient[j] = exp_libm(row[j] - largest);
        for (index j = 0; j < row.size; ++j) gradient[j] = (gradient[j] / sum - T(j == labels[i])) / n;
    }
}

}  // namespace cross_entropy_backward

}  // namespace loopnest::LOOPNEST_ISA
