// The same loop with polynomials for exp and erfc: no call and no branch, so the compiler vectorizes it.
//
// exp(x) is 2^n times a polynomial on a short range, with n found by rounding. erfc is exp times one polynomial for its
// whole range (kernel/formulas.hpp, simd/math.hpp). Every choice is written so that it becomes a selection of lanes. An
// iteration now computes 4, 8 or 16 elements, in about the time of one library call. The limit is arithmetic: some 30
// operations an element in the tanh form and 45 in the exact one. The divisions, one and two, are the slowest.
#pragma once

#include "gelu/kernel/formulas.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

// One loop for each form: a choice inside would be a branch in every iteration.
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
