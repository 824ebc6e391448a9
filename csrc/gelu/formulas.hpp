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

template <class T, class Result = T>
struct TailOf;
template <>
struct TailOf<float> {
    static constexpr float farthest = 40;
    static constexpr float p[] = {1.26483818f,    -0.1223568008f,  -0.09902424166f, 0.1576309944f,
                                  -0.1029705384f, 0.03275205257f,  0.0009467596303f, -0.00435049234f,
                                  0.0004633375206f, 0.0005757346293f, -6.391786604e-5f, -6.190753097e-5f};
};
template <>
struct TailOf<double> {
    static constexpr double farthest = 40;
    static constexpr double p[] = {
        1.264838184366861479,      -0.1223567630824021449,    -0.09902453957360054048,  0.1576299190229926995,
        -0.1029670560386339919,    0.03276089327566133011,    0.0009318928184352962801, -0.004382078440847586588,
        0.0004918658041021488988,  0.0006321251464155949001,  -0.00008847920687669828167, -0.0001135263249271897376,
        6.266010784972975401e-6,   0.00002271224859260001592, 2.608671349693789462e-6,  -4.244612526599290929e-6,
        -1.584442253902793617e-6,  5.650897898007257199e-7,   5.323857055177547213e-7,  -2.59578977973257208e-9,
        -1.250612981958526044e-7,  -1.952975727962924257e-8,  1.928916211860085757e-8,  3.350554918534960778e-9,
        -1.475981608646254647e-9};
};

template <>
struct TailOf<double, float> {  // computed in double, for a float result
    static constexpr double farthest = 20;
    static constexpr double p[] = {1.2648381843304,    -0.12235680075159,  -0.099024536324862,  0.15763099436154,
                                   -0.10296710057719,  0.032752052568652,  0.0009320917729832,  -0.0043504923404896,
                                   0.00049162553118739, 0.00057573462934148, -8.9062764345253e-5, -6.1907530970474e-5,
                                   8.3816327670309e-6};
};

inline constexpr double linear = 1.5957691216057307118;  // 2 √(2/π)
inline constexpr double cubic = 0.044715;

template <class V>
struct Normal {
    V distribution, bell;  // Φ(x), and exp(-x²/2)
};

// Beyond ±farthest, exp(-x²/2) is 0 in the result's type; nearer, no square overflows.
template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE Normal<V> normal(V x) {
    using T = LaneOf<V>;
    using Tail = TailOf<T, Result>;
    const V t = at_most(magnitude(x), Tail::farthest);
    const V z = t * T(0.70710678118654752440);
    const V s = (z - T(2.5)) / (z + T(2.5));
    const V bell = exp_of<V, Result>(t * t * T(-0.5));
    const V tail = bell * horner(s, Tail::p) / (T(4) * z + T(2));
    return {x > V{} ? T(1) - tail : tail, bell};
}

template <class V>
LOOPNEST_INLINE V tanh_argument(V x) {
    using T = LaneOf<V>;
    return x * T(linear) * (x * x * T(cubic) + T(1));
}

template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE V gelu_formula(V x, bool tanh_form) {
    return x * (tanh_form ? sigmoid_of<V, Result>(tanh_argument(x)) : normal<V, Result>(x).distribution);
}

template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE V slope_formula(V x, bool tanh_form) {
    using T = LaneOf<V>;
    if (!tanh_form) {
        const Normal<V> at = normal<V, Result>(x);
        return at.distribution + x * at.bell * T(0.39894228040143267794);  // 1 / √(2π)
    }
    constexpr T farthest = TailOf<T, Result>::farthest;
    const V near = at_least(at_most(x, farthest), -farthest);
    const V w = tanh_argument(near);
    const V t = exp_of<V, Result>(-magnitude(w));  // σ(w) σ(-w) = t / (1 + t)²
    const V below = t + T(1);
    const V rise = near * near * T(3 * linear * cubic) + T(linear);
    return (w < V{} ? t : V{} + T(1)) / below + x * (t / (below * below)) * rise;
}

}  // namespace loopnest::LOOPNEST_ISA::gelu
