// The losses and their gradients on all cores.
//
// Threads take blocks of rows, or parts of a few long rows. Sums are added up in a fixed order: the squared error's
// parts in the order of the threads, the cross-entropies in the order of the rows. The limit is exp's arithmetic for
// the cross-entropy, and memory for the squared error.
#pragma once

#include "losses/cross_entropy_simd.hpp"
#include "losses/mse.hpp"
#include "runtime/share_elements.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace mse {
template <class T>
void parallel(Matrix<const T> y, Matrix<const T> t, T* loss) {
    const T count = T(y.rows * y.cols);
    *loss = sum_of_shares<T>(y.rows, y.cols, worth_a_thread_of_copies, [&](index i, index j, index rows, index cols) {
        return sum_of_squares<T>(y.block(i, j, rows, cols), t.block(i, j, rows, cols));
    }) / count;
}
}  // namespace mse

namespace mse_backward {
template <class T>
void parallel(Matrix<const T> y, Matrix<const T> t, Matrix<T> dy, index count) {
    share_blocks(worth_a_thread_of_copies, [=](auto... x) { vectorized<T>(x..., count); }, y, t, dy);
}
}  // namespace mse_backward

namespace cross_entropy {
template <class T>
void parallel(Matrix<const T> logits, Vector<const std::int64_t> labels, T* loss) {
    T* const losses = scratch<T>(Slot::parts, logits.rows);
    share_rows(logits.rows, logits.cols, worth_a_thread_of_exp, [&](index i, index rows) {
        losses_of_rows<T>(logits.block(i, 0, rows, logits.cols), labels.from(i), losses + i);
    });
    *loss = mean_of(losses, logits.rows);
}
}  // namespace cross_entropy

namespace cross_entropy_backward {
template <class T>
void parallel(Matrix<const T> logits, Vector<const std::int64_t> labels, Matrix<T> dlogits) {
    share_rows(logits.rows, logits.cols, worth_a_thread_of_exp, [&](index i, index rows) {
        gradients_of_rows<T>(logits.block(i, 0, rows, logits.cols), labels.from(i),
                             dlogits.block(i, 0, rows, logits.cols), logits.rows);
    });
}
}  // namespace cross_entropy_backward

}  // namespace loopnest::LOOPNEST_ISA
