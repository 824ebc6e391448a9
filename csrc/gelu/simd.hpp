// The same polynomials on explicit vectors.
//
// What the compiler had to discover in the loop of `polynomial` is said: a register's width of elements at a time, selections
// instead of branches, and a rest at the row's end that goes through a buffer of one vector. So the speed does not
// depend on what the vectorizer of this or that compiler makes of the loop, and rows with gaps are vectorized too. The
// limit is the same arithmetic; within it, the divisions.
#pragma once

#include "gelu/formulas.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

template <class T>
void simd(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    if (tanh_form)
        map(y, [](Vec<T> v) { return gelu_of(v, true); }, x);
    else
        map(y, [](Vec<T> v) { return gelu_of(v, false); }, x);
}

}  // namespace gelu

namespace gelu_backward {

template <class T>
void simd(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    if (tanh_form)
        map(dx, [](Vec<T> v, Vec<T> dv) { return dv * gelu::slope_of(v, true); }, x, dy);
    else
        map(dx, [](Vec<T> v, Vec<T> dv) { return dv * gelu::slope_of(v, false); }, x, dy);
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
