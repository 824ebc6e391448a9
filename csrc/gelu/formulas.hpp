// GELU and its slope in both forms, without calls and without branches, on a number or on every lane of a vector.
//
//     exact form   x · Φ(x)        Φ(x) = 1 - Q(x) for x > 0, else Q(-x)        slope  Φ(x) + x φ(x)
//     tanh form    x · σ(w)        w = 2 √(2/π) (x + 0.044715 x³)               slope  σ(w) + x σ(w) σ(-w) w'
//
// Q is the normal distribution's tail, φ its density, σ the logistic function: (1 + tanh(w/2)) / 2 = σ(w). So written,
// nothing cancels for x far below 0. Q comes from one polynomial for all of its range:
//
//     Q(t) = exp(-t²/2) · p(s) / (2 (1 + 2z)),      z = t/√2,      s = (z - 5/2) / (z + 5/2)
//
// (Schonfelder, Math. Comp. 1978; Shepherd and Laframboise, Math. Comp. 1981), its coefficients those of the
// Chebyshev series of (1 + 2z) exp(z²) erfc(z) in s, made with mpmath in 50 digits and cut at errors of 6e-9 and 1e-17.
#pragma once

#include "simd/math.hpp"

namespace loopnest::LOOPNEST_ISA::gelu {

template <class T>
struct TailOf;
template <>
struct TailOf<float> {
    static constexpr float p[] = {1.26483818f,    -0.1223568008f,  -0.09902424166f, 0.1576309944f,
                                  -0.1029705384f, 0.03275205257f,  0.0009467596303f, -0.00435049234f,
                                  0.0004633375206f, 0.0005757346293f, -6.391786604e-5f, -6.190753097e-5f};
};
template <>
struct TailOf<double> {
    static constexpr double p[] = {
        1.264838184366861479,      -0.1223567630824021449,    -0.09902453957360054048,  0.1576299190229926995,
        -0.1029670560386339919,    0.03276089327566133011,    0.0009318928184352962801, -0.004382078440847586588,
        0.0004918658041021488988,  0.0006321251464155949001,  -0.00008847920687669828167, -0.0001135263249271897376,
        6.266010784972975401e-6,   0.00002271224859260001592, 2.608671349693789462e-6,  -4.244612526599290929e-6,
        -1.584442253902793617e-6,  5.650897898007257199e-7,   5.323857055177547213e-7,  -2.59578977973257208e-9,
        -1.250612981958526044e-7,  -1.952975727962924257e-8,  1.928916211860085757e-8,  3.350554918534960778e-9,
        -1.475981608646254647e-9};
};

inline constexpr double linear = 1.5957691216057307118;  // 2 √(2/π)
inline constexpr double cubic = 0.044715;
inline constexpr int farthest = 40;  // beyond ±40 exp(-x²/2) is 0 in double too; nearer, no square overflows

template <class V>
struct Normal {
    V distribution, bell;  // Φ(x), and exp(-x²/2)
};

template <class V>
LOOPNEST_INLINE Normal<V> normal(V x) {
    using T = LaneOf<V>;
    const V t = at_most(magnitude(x), T(farthest));
    const V z = t * T(0.70710678118654752440);
    const V s = (z - T(2.5)) / (z + T(2.5));
    const V bell = exp_of_nonpositive(t * t * T(-0.5));
    const V tail = bell * polynomial(s, TailOf<T>::p) / (T(4) * z + T(2));
    return {x > V{} ? T(1) - tail : tail, bell};
}

template <class V>
LOOPNEST_INLINE V tanh_argument(V x) {
    using T = LaneOf<V>;
    return x * T(linear) * (x * x * T(cubic) + T(1));
}

template <class V>
LOOPNEST_INLINE V gelu_of(V x, bool tanh_form) {
    return x * (tanh_form ? sigmoid_of(tanh_argument(x)) : normal(x).distribution);
}

template <class V>
LOOPNEST_INLINE V slope_of(V x, bool tanh_form) {
    using T = LaneOf<V>;
    const V near = at_least(at_most(x, T(farthest)), T(-farthest));
    if (!tanh_form) {
        const Normal<V> at = normal(x);
        return at.distribution + x * at.bell * T(0.39894228040143267794);  // 1 / √(2π)
    }
    const V w = tanh_argument(near);
    const V t = exp_of_nonpositive(-magnitude(w));  // σ(w) σ(-w) = t / (1 + t)²
    const V below = t + T(1);
    const V rise = near * near * T(3 * linear * cubic) + T(linear);
    return sigmoid_of(w, t) + x * (t / (below * below)) * rise;
}

}  // namespace loopnest::LOOPNEST_ISA::gelu
