// One pass over the parameters: every state is read, updated and written together with its parameter.
//
//     sgd        p -= lr * g
//     momentum   v = mu * v + g                  p -= lr * v
//     rmsprop    s = rho * s + (1 - rho) * g²    p -= lr * g / (sqrt(s) + eps)
//     adam       m = beta1 * m + (1 - beta1) * g,  v = beta2 * v + (1 - beta2) * g²
//                p -= lr / c1 * m / (sqrt(v / c2) + eps),  or, eps inside:  p -= lr * (m / c1) / sqrt(v / c2 + eps)
//
// Fused into one loop, an Adam step moves 28 bytes a parameter in float32 (four arrays read, three written); a line of
// NumPy for each formula moves more than twice that. Rows without gaps have their own loop, which the compiler
// vectorizes, square root and division included: with unknown strides GCC 12 gathers two or four elements at a time.
// The limit is the memory's bandwidth, and within L2 the divider.
//
// 1 - beta is computed in double: 1 - 0.999f would be off by 5e-5 of its value.
#pragma once

#include "simd/libm.hpp"

namespace loopnest::LOOPNEST_ISA {

template <class Step, class... T>
LOOPNEST_INLINE void update_row(const Step& step, index size, T*... x) {
    for (index j = 0; j < size; ++j) step(x[j]...);
}

// step(p, g, …) for the elements at one place of all matrices, which have one shape.
template <class Step, class T, class... Others>
LOOPNEST_INLINE void update_each(const Step& step, Matrix<T> param, Others... x) {
    const bool gaps = !param.contiguous_rows() || (... || !x.contiguous_rows());
    for (index i = 0; i < param.rows; ++i)
        if (gaps)
            for (index j = 0; j < param.cols; ++j) step(param(i, j), x(i, j)...);
        else
            update_row(step, param.cols, &param(i, 0), &x(i, 0)...);
}

namespace sgd {

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, double lr) {
    const T rate = T(lr);
    update_each([=](T& p, T g) { p -= rate * g; }, param, grad);
}

}  // namespace sgd

namespace momentum {

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, Matrix<T> velocity, double lr, double mu) {
    const T rate = T(lr), keep = T(mu);
    const auto step = [=](T& p, T g, T& v) {
        v = keep * v + g;
        p -= rate * v;
    };
    update_each(step, param, grad, velocity);
}

}  // namespace momentum

namespace rmsprop {

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, Matrix<T> square_average, double lr, double rho, double eps) {
    const T rate = T(lr), keep = T(rho), take = T(1 - rho), epsilon = T(eps);
    const auto step = [=](T& p, T g, T& s) {
        s = keep * s + take * (g * g);
        p -= rate * g / (sqrt_libm(s) + epsilon);
    };
    update_each(step, param, grad, square_average);
}

}  // namespace rmsprop

namespace adam {

template <class T, bool eps_inside>
LOOPNEST_INLINE void step(Matrix<T> param, Matrix<const T> grad, Matrix<T> m, Matrix<T> v, double lr, double beta1,
                          double beta2, double eps, double correction1, double correction2) {
    const T keep1 = T(beta1), take1 = T(1 - beta1), keep2 = T(beta2), take2 = T(1 - beta2);
    const T rate = T(lr / correction1), c2 = T(correction2), epsilon = T(eps);
    const auto update = [=](T& p, T g, T& mean, T& square) {
        mean = keep1 * mean + take1 * g;
        square = keep2 * square + take2 * (g * g);
        const T scale = eps_inside ? sqrt_libm(square / c2 + epsilon) : sqrt_libm(square / c2) + epsilon;
        p -= rate * mean / scale;
    };
    update_each(update, param, grad, m, v);
}

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, Matrix<T> m, Matrix<T> v, double lr, double beta1, double beta2,
                double eps, double correction1, double correction2, bool eps_inside) {
    if (eps_inside)
        step<T, true>(param, grad, m, v, lr, beta1, beta2, eps, correction1, correction2);
    else
        step<T, false>(param, grad, m, v, lr, beta1, beta2, eps, correction1, correction2);
}

}  // namespace adam

}  // namespace loopnest::LOOPNEST_ISA
