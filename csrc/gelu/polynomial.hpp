// The same loop with polynomials for exp and erfc: no call, no branch, so the compiler vectorizes it.
//
// exp(x) is 2^n times a polynomial on a short range, n by rounding; erfc is exp times a polynomial that serves for its whole
// range (see formulas.hpp and simd/math.hpp). Choices are written so that they become selections of lanes. What was one
// element a turn is then 4, 8 or 16, and a vector's arithmetic takes about as long as one library call did. The limit is
// arithmetic: some 30 operations an element in the tanh form and 45 in the exact one, of which the divisions, one and
// two, are the slowest.
#pragma once

#include "gelu/kernel/formulas.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

// One loop for each form and layout: a choice inside would be a branch in every turn.
template <bool tanh_form, class T>
void polynomial_rows(Matrix<const T> x, Matrix<T> y) {
    for (index i = 0; i < x.rows; ++i)
        for (index j = 0; j < x.cols; ++j) y(i, j) = gelu_formula(x(i, j), tanh_form);
}

template <class T>
void polynomial(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    tanh_form ? polynomial_rows<true>(x, y) : polynomial_rows<false>(x, y);
}

}  // namespace gelu

namespace gelu_backward {

template <bool tanh_form, class T>
void polynomial_rows(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) {
    for (index i = 0; i < x.rows; ++i)
        for (index j = 0; j < x.cols; ++j) dx(i, j) = dy(i, j) * gelu::slope_formula(x(i, j), tanh_form);
}

template <class T>
void polynomial(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    tanh_form ? polynomial_rows<true>(x, dy, dx) : polynomial_rows<false>(x, dy, dx);
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
