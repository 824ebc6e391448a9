// One pass over the parameters: every state is read, updated and written beside its parameter.
//
//     sgd        p -= lr * g
//     momentum   v = mu * v + g                  p -= lr * v
//     rmsprop    s = rho * s + (1 - rho) * g²    p -= lr * g / (sqrt(s) + eps)
//     adam       m = beta1 * m + (1 - beta1) * g,  v = beta2 * v + (1 - beta2) * g²
//                p -= lr / c1 * m / (sqrt(v / c2) + eps),  or, eps inside:  p -= lr * (m / c1) / sqrt(v / c2 + eps)
//
// Fused into one loop, an Adam step moves 28 bytes a parameter in float32 (four arrays read, three written), where a line
// of NumPy for each formula would move twice that and more. The compiler vectorizes each loop for rows without gaps,
// square root and division included. The limit is the memory's bandwidth; within L2 it is the divider.
//
// 1 - beta is formed in double: 1 - 0.999f would be off by 5e-5 of its value.
#pragma once

#include "simd/libm.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace sgd {

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, double lr) {
    const T rate = T(lr);
    for (index i = 0; i < param.rows; ++i)
        for (index j = 0; j < param.cols; ++j) param(i, j) -= rate * grad(i, j);
}

}  // namespace sgd

namespace momentum {

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, Matrix<T> velocity, double lr, double mu) {
    const T rate = T(lr), keep = T(mu);
    for (index i = 0; i < param.rows; ++i)
        for (index j = 0; j < param.cols; ++j) {
            const T v = keep * velocity(i, j) + grad(i, j);
            velocity(i, j) = v;
            param(i, j) -= rate * v;
        }
}

}  // namespace momentum

namespace rmsprop {

template <class T>
void vectorized(Matrix<T> param, Matrix<const T> grad, Matrix<T> square_average, double lr, double rho, double eps) {
    const T rate = T(lr), keep = T(rho), take = T(1 - rho), epsilon = T(eps);
    for (index i = 0; i < param.rows; ++i)
        for (index j = 0; j < param.cols; ++j) {
            const T g = grad(i, j);
            const T s = keep * square_average(i, j) + take * (g * g);
            square_average(i, j) = s;
            param(i, j) -= rate * g / (sqrt_libm(s) + epsilon);
        }
}

}  // namespace rmsprop

namespace adam {

template <class T, bool eps_inside>
LOOPNEST_INLINE void step(Matrix<T> param, Matrix<const T> grad, Matrix<T> m, Matrix<T> v, double lr, double beta1,
                          double beta2, double eps, double correction1, double correction2) {
    const T keep1 = T(beta1), take1 = T(1 - beta1), keep2 = T(beta2), take2 = T(1 - beta2);
    const T rate = T(lr / correction1), c2 = T(correction2), epsilon = T(eps);
    for (index i = 0; i < param.rows; ++i)
        for (index j = 0; j < param.cols; ++j) {
            const T g = grad(i, j);
            const T mean = keep1 * m(i, j) + take1 * g;
            const T square = keep2 * v(i, j) + take2 * (g * g);
            m(i, j) = mean;
            v(i, j) = square;
            const T scale = eps_inside ? sqrt_libm(square / c2 + epsilon) : sqrt_libm(square / c2) + epsilon;
            param(i, j) -= rate * mean / scale;
        }
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
