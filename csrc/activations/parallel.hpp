// The activation functions, their gradients and softmax on all cores.
//
// Threads take blocks of rows, or parts of a few long rows; softmax needs whole rows. As in `simd`, the size of the
// whole decides whether results are streamed past the caches. relu is bound by memory and pays from 260,000 elements
// on, the others from 33,000. The limit is the cores' arithmetic within the caches, and beyond them the shared memory.
#pragma once

#include "activations/simd.hpp"
#include "activations/softmax.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace relu {
template <class T>
void parallel(Matrix<const T> x, Matrix<T> y) { map_shared(worth_a_thread_of_copies, y, Relu<T>{}, x); }
}  // namespace relu

namespace relu_backward {
template <class T>
void parallel(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) {
    map_shared(worth_a_thread_of_copies, dx, ReluBackward<T>{}, x, dy);
}
}  // namespace relu_backward

namespace sigmoid {
template <class T>
void parallel(Matrix<const T> x, Matrix<T> y) { map_shared(worth_a_thread_of_exp, y, Sigmoid<T>{}, x); }
}  // namespace sigmoid

namespace sigmoid_backward {
template <class T>
void parallel(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) {
    map_shared(worth_a_thread_of_exp, dx, SigmoidBackward<T>{}, x, dy);
}
}  // namespace sigmoid_backward

namespace tanh {
template <class T>
void parallel(Matrix<const T> x, Matrix<T> y) { map_shared(worth_a_thread_of_exp, y, Tanh<T>{}, x); }
}  // namespace tanh

namespace tanh_backward {
template <class T>
void parallel(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) {
    map_shared(worth_a_thread_of_exp, dx, TanhBackward<T>{}, x, dy);
}
}  // namespace tanh_backward

namespace softmax {
template <class T>
void parallel(Matrix<const T> x, Matrix<T> y) {
    share_rows(y.rows, y.cols, worth_a_thread_of_exp, [&](index i, index rows) {
        simd<T>(x.block(i, 0, rows, x.cols), y.block(i, 0, rows, y.cols));
    });
}
}  // namespace softmax

}  // namespace loopnest::LOOPNEST_ISA
