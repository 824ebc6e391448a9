// An optimizer's step on all cores.
//
// Threads take blocks of rows, or parts of a few long rows (runtime/share_elements.hpp), of all arrays alike. The limit
// is the memory that the cores share; within L2 it is the stores, and for RMSprop and Adam the divider, of each core.
#pragma once

#include "optimizers/steps.hpp"
#include "runtime/share_elements.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace sgd {
template <class T>
void parallel(Matrix<T> param, Matrix<const T> grad, double lr) {
    share_blocks(worth_a_thread_of_copies, [=](auto... x) { vectorized<T>(x..., lr); }, param, grad);
}
}  // namespace sgd

namespace momentum {
template <class T>
void parallel(Matrix<T> param, Matrix<const T> grad, Matrix<T> velocity, double lr, double mu) {
    share_blocks(worth_a_thread_of_copies, [=](auto... x) { vectorized<T>(x..., lr, mu); }, param, grad, velocity);
}
}  // namespace momentum

namespace rmsprop {
template <class T>
void parallel(Matrix<T> param, Matrix<const T> grad, Matrix<T> square_average, double lr, double rho, double eps) {
    const auto step = [=](auto... x) { vectorized<T>(x..., lr, rho, eps); };
    share_blocks(worth_a_thread_of_copies, step, param, grad, square_average);
}
}  // namespace rmsprop

namespace adam {
template <class T>
void parallel(Matrix<T> param, Matrix<const T> grad, Matrix<T> m, Matrix<T> v, double lr, double beta1, double beta2,
              double eps, double correction1, double correction2, bool eps_inside) {
    const auto step = [=](auto... x) {
        vectorized<T>(x..., lr, beta1, beta2, eps, correction1, correction2, eps_inside);
    };
    share_blocks(worth_a_thread_of_copies, step, param, grad, m, v);
}
}  // namespace adam

}  // namespace loopnest::LOOPNEST_ISA
