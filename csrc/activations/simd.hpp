// relu, sigmoid, tanh and their gradients on explicit vectors.
//
//     relu      0 where x <= 0, else x                  dy where x > 0, else 0
//     sigmoid   1 / (1 + exp(-x))                       dy · t / (1 + t)²,    t = exp(-|x|)
//     tanh      (1 - t) / (1 + t), t = exp(-2|x|)       dy · 4 t / (1 + t)²
//
// exp is a polynomial in registers (simd/math.hpp). The gradients are written in t, so that no difference cancels. tanh
// in float is 32 polynomials of degree 5 in AVX-512's registers, or 8 of degree 11 in those of AVX2 and NEON
// (simd/pieces.hpp). SSE2 computes it in double: 1 - t cancels, and two ULP leave no room for that.
//
// The largest error in ULP over all 2^32 floats: sigmoid 1.77, tanh 1.75 (v3 1.13, v1 0.51), the two gradients 4.22:
// exp, 1 + t, the square, the quotient and the wobble of an ULP contribute to it.
//
// relu is bound by memory: a load, a selection and a store. The others have some 20 operations an element and, except
// for tanh, a division. Within the caches these are the limit, beyond them the memory's bandwidth is.
#pragma once

#include "activations/kernel/map.hpp"
#include "simd/pieces.hpp"

namespace loopnest::LOOPNEST_ISA {

template <class T>
struct Relu {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const { return x <= Vec<T>{} ? Vec<T>{} : x; }
};

template <class T>
struct ReluBackward {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x, Vec<T> dy) const { return x <= Vec<T>{} ? Vec<T>{} : dy; }
};

template <class T>
struct Sigmoid {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const { return sigmoid_of(x); }
};

template <class T>
struct SigmoidBackward {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x, Vec<T> dy) const {
        const Vec<T> t = exp_of(-magnitude(x)), below = t + T(1);
        return dy * (t / (below * below));
    }
};

template <class T>
struct Tanh {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const { return tanh_of(x); }
};

template <>
struct Tanh<float> {
#if defined(LOOPNEST_TABLES)
    Pieces<tanh_pieces> pieces;
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> x) const { return with_sign_of(x, pieces(magnitude(x))); }
#else
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> x) const {
        return in_double(x, [](Vec<double> v) { return tanh_of<Vec<double>, float>(v); });
    }
#endif
};

template <class T>
struct TanhBackward {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x, Vec<T> dy) const {
        const Vec<T> t = exp_of(T(-2) * magnitude(x)), below = t + T(1);
        return dy * (T(4) * t / (below * below));
    }
};

namespace relu {
template <class T>
void simd(Matrix<const T> x, Matrix<T> y) { map(y, Relu<T>{}, x); }
}  // namespace relu

namespace relu_backward {
template <class T>
void simd(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) { map(dx, ReluBackward<T>{}, x, dy); }
}  // namespace relu_backward

namespace sigmoid {
template <class T>
void simd(Matrix<const T> x, Matrix<T> y) { map(y, Sigmoid<T>{}, x); }
}  // namespace sigmoid

namespace sigmoid_backward {
template <class T>
void simd(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) { map(dx, SigmoidBackward<T>{}, x, dy); }
}  // namespace sigmoid_backward

namespace tanh {
template <class T>
void simd(Matrix<const T> x, Matrix<T> y) { map(y, Tanh<T>{}, x); }
}  // namespace tanh

namespace tanh_backward {
template <class T>
void simd(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx) { map(dx, TanhBackward<T>{}, x, dy); }
}  // namespace tanh_backward

}  // namespace loopnest::LOOPNEST_ISA
