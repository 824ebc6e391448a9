// The formulas with the C library's exp and erfc, one element at a time.
//
//     exact form   x · erfc(-x/√2) / 2        tanh form   x · σ(w),  w = 2 √(2/π) (x + 0.044715 x³)
//
// Each element costs a call: the library's exp takes some 3 ns and its erfc 10 to 20, with branches for the ranges of
// the argument. A loop with a call cannot be vectorized, and this one is compiled with vectorization off as well. The
// limit is the latency and the branches of the library's functions; the arithmetic units are mostly idle.
#pragma once

#include "gelu/kernel/formulas.hpp"
#include "simd/libm.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

template <class T>
inline constexpr T sqrt_half = T(0.70710678118654752440);

template <class T>
T sigmoid_by_libm(T x) {
    const T t = exp_libm(-magnitude(x));
    return (x >= 0 ? T(1) : t) / (1 + t);
}

template <class T>
void scalar(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    for (index i = 0; i < x.rows; ++i)
        for (index j = 0; j < x.cols; ++j) {
            const T at = x(i, j);
            y(i, j) = at * (tanh_form ? sigmoid_by_libm(tanh_argument(at)) : erfc_libm(at * -sqrt_half<T>) / 2);
        }
}

}  // namespace gelu

namespace gelu_backward {

template <class T>
T slope_by_libm(T x, bool tanh_form) {
    if (!tanh_form) {
        const T bell = exp_libm(x * x * T(-0.5)) * T(0.39894228040143267794);
        return erfc_libm(x * -gelu::sqrt_half<T>) / 2 + x * bell;
    }
    constexpr T farthest = gelu::TailOf<T>::farthest;
    const T near = at_least(at_most(x, farthest), -farthest);  // so that w' is finite
    const T w = gelu::tanh_argument(near);
    const T t = exp_libm(-magnitude(w)), below = 1 + t;
    const T rise = T(gelu::linear) * (1 + T(3 * gelu::cubic) * near * near);  // w'
    return (w >= 0 ? T(1) : t) / below + x * (t / (below * below)) * rise;
}

template <class T>
void scalar(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    for (index i = 0; i < x.rows; ++i)
        for (index j = 0; j < x.cols; ++j) dx(i, j) = dy(i, j) * slope_by_libm(x(i, j), tanh_form);
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
