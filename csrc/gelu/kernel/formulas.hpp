// GELU and its slope in both forms, without calls and without branches, on a number or on every lane of a vector.
//
//     exact form   x · Φ(x)        Φ(x) = 1 - Q(x) for x > 0, else Q(-x)        slope  Φ(x) + x φ(x)
//     tanh form    x · σ(w)        w = 2 √(2/π) (x + 0.044715 x³)               slope  σ(w) + x σ(w) σ(-w) w'
//
// Q is the normal distribution's tail, φ its density, σ the logistic function: (1 + tanh(w/2)) / 2 = σ(w). In this form
// nothing cancels for x far below 0. One polynomial serves Q's whole range:
//
//     Q(t) = exp(-t²/2) · p(s) / (z + 5/2),      z = t/√2,      s = (z - 5/2) / (z + 5/2)
//
// (after Schonfelder, Math. Comp. 1978). p is the Chebyshev series of (z + 5/2) exp(z²) erfc(z) / 2 in s, made with
// mpmath in 50 digits and truncated at errors of 9e-9 and 3e-17. s and the last quotient share one division.
#pragma once

#include "simd/math.hpp"

namespace loopnest::LOOPNEST_ISA::gelu {

template <class T, class Result = T>
struct TailOf;
template <>
struct TailOf<float> {
    static constexpr float farthest = 40;
    static constexpr float p[] = {0.5270159073f,    -0.4023259644f,  0.2269572631f,    -0.08562474371f,
                                  0.01417833809f,   0.004191565937f, -0.002398680583f, -0.0002069624925f,
                                  0.0003296454047f, 1.350356491e-5f, -3.508006459e-5f};
};
template <>
struct TailOf<double> {
    static constexpr double farthest = 40;
    static constexpr double p[] = {
        0.5270159101528589536,      -0.4023259247195740954,    0.2269570583240480141,     -0.08562557262305952452,
        0.01418077506599736525,     0.004196522152381085119,   -0.002409392761602688603,  -0.000219604150052907757,
        0.0003513468616766945782,   2.915402936768080225e-5,   -5.630241228022642542e-5,  -9.766669228887920105e-6,
        9.122154400107792961e-6,    3.378690280214976615e-6,   -1.165997426443304718e-6,  -9.840687104389079415e-7,
        -3.372709546704344135e-9,   2.271316334648795929e-7,   6.960549778284823127e-8,   -3.709978032671771226e-8,
        -2.684463679540733881e-8,   3.231019760667956719e-9,   5.680832730538917654e-9,   -1.733694257283214218e-11,
        -5.697168788152510328e-10};
};
template <>
struct TailOf<double, float> {  // computed in double, for a float result
    static constexpr double farthest = 20;
    static constexpr double p[] = {0.52701591004551613,    -0.40232592865820223,    0.22695706893804591,
                                   -0.0856254588298859,    0.01418060324238773,     0.0041955705833190029,
                                   -0.002408345227655355,  -0.00021611596981520644, 0.00034828436261060662,
                                   2.2657042232049092e-5,  -5.1648027140678365e-5,  -3.3285372080453452e-6,
                                   5.5226541834448401e-6};
};

inline constexpr double linear = 1.5957691216057307118;  // 2 √(2/π)
inline constexpr double cubic = 0.044715;

template <class V>
struct Normal {
    V distribution, bell;  // Φ(x), and exp(-x²/2)
};

// Beyond ±farthest exp(-x²/2) is 0 in the result's type; up to there no square overflows.
template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE Normal<V> normal(V x) {
    using T = LaneOf<V>;
    using Tail = TailOf<T, Result>;
    const V t = at_most(magnitude(x), Tail::farthest);
    const V z = t * T(0.70710678118654752440);
    const V inverse = T(1) / (z + T(2.5));
    const V s = (z - T(2.5)) * inverse;
    const V bell = exp_of<V, Result>(t * t * T(-0.5));
    const V tail = bell * (horner(s, Tail::p) * inverse);
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
