// Cross-entropy and its gradient on explicit vectors: exp is a polynomial in registers.
//
// The same sums as in `scalar`. The maximum and exp are softmax's (activations/softmax.hpp): some 14 operations a
// vector of exp instead of a call of the C library an element. Each row has its own loss, and the losses are added
// in the order of the rows. The limit is exp's arithmetic while a row fits in L1; one logarithm a row, a call of the C
// library, shows where there are few classes.
#pragma once

#include "activations/softmax.hpp"
#include "runtime/scratch.hpp"
#include "simd/libm.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace cross_entropy {

// The sum of exp(row - largest).
template <class T>
LOOPNEST_INLINE T sum_of_exp(Vector<const T> row, T largest) {
    Vec<T> sums[4] = {};
    index j = 0;
    if (row.contiguous())
        for (; j + 4 * lanes<T> <= row.size; j += 4 * lanes<T>)
#pragma GCC unroll 4
            for (int n = 0; n < 4; ++n) sums[n] += exp_of(load(row.data + j + n * lanes<T>) - largest);
    for (; j < row.size; j += lanes<T>) {
        const index count = smaller(lanes<T>, row.size - j);
        const Vec<T> x = row.contiguous() ? load_rest(row.data + j, count) : gather<T>(row, j, count);
        T terms[lanes<T>];
        store<T>(terms, exp_of(x - largest));
        sums[0] += load_rest(terms, count);  // nothing of the lanes behind the row's end
    }
    return sum_of_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
void losses_of_rows(Matrix<const T> logits, Vector<const std::int64_t> labels, T* losses) {
    for (index i = 0; i < logits.rows; ++i) {
        const Vector<const T> row = logits.row(i);
        const T largest = softmax::largest_of(row);
        losses[i] = log_libm(sum_of_exp(row, largest)) - (row[labels[i]] - largest);
    }
}

template <class T>
T mean_of(const T* losses, index count) {
    T total = 0;
    for (index i = 0; i < count; ++i) total += losses[i];
    return total / T(count);
}

template <class T>
void simd(Matrix<const T> logits, Vector<const std::int64_t> labels, T* loss) {
    T* const losses = scratch<T>(Slot::parts, logits.rows);
    losses_of_rows(logits, labels, losses);
    *loss = mean_of(losses, logits.rows);
}

}  // namespace cross_entropy

namespace cross_entropy_backward {

// The gradient of a mean over `count` rows.
template <class T>
void gradients_of_rows(Matrix<const T> logits, Vector<const std::int64_t> labels, Matrix<T> dlogits, index count) {
    const T n = T(count);
    for (index i = 0; i < logits.rows; ++i) {
        const Vector<const T> row = logits.row(i);
        const Vector<T> gradient = dlogits.row(i);
        const T sum = softmax::exp_of_row(row, gradient);
        const index label = labels[i];
        const T of_label = (gradient[label] / sum - 1) / n, scale = 1 / sum;
        for (index j = 0; j < row.size; ++j) gradient.data[j] = gradient.data[j] * scale / n;
        gradient.data[label] = of_label;
    }
}

template <class T>
void simd(Matrix<const T> logits, Vector<const std::int64_t> labels, Matrix<T> dlogits) {
    gradients_of_rows(logits, labels, dlogits, logits.rows);
}

}  // namespace cross_entropy_backward

}  // namespace loopnest::LOOPNEST_ISA
