// exp and functions made of it, without calls and without branches: of a number, or of every lane of a vector at once.
//
// Each function is a template over V, which is float, double or a Vec of them. The explicit rungs use it with Vec; the
// auto-vectorized ones use it with numbers, in loops that the compiler turns into vector instructions.
#pragma once

#include "simd/native.hpp"

namespace loopnest::LOOPNEST_ISA {

// Never called: a number's own type or a vector's lane, and integers of the same size and shape.
float lane_of(float);
double lane_of(double);
template <class V>
auto lane_of(V v) -> decltype(v[0] + 0);
std::int32_t integers_of(float);
std::int64_t integers_of(double);
template <class V>
auto integers_of(V v) -> decltype(v < v);

template <class V>
using LaneOf = decltype(lane_of(V{}));
template <class V>
using IntOf = decltype(integers_of(V{}));

template <class V>
LOOPNEST_INLINE IntOf<V> bits_of(V x) { return __builtin_bit_cast(IntOf<V>, x); }

template <class V>
LOOPNEST_INLINE V from_bits(IntOf<V> bits) { return __builtin_bit_cast(V, bits); }

template <class V>
LOOPNEST_INLINE V magnitude(V x) { return from_bits<V>(bits_of(x) & ~bits_of(-V{})); }

// |y| with x's sign, a zero's too.
template <class V>
LOOPNEST_INLINE V with_sign_of(V x, V y) {
    const IntOf<V> sign = bits_of(-V{});
    return from_bits<V>((bits_of(y) & ~sign) | (bits_of(x) & sign));
}

template <class V>
LOOPNEST_INLINE V at_least(V x, LaneOf<V> bound) {  // NaN stays NaN
    return larger_of(V{} + bound, x);
}

template <class V>
LOOPNEST_INLINE V at_most(V x, LaneOf<V> bound) { return smaller_of(V{} + bound, x); }

// c[0] + c[1] x + … + c[n-1] x^(n-1), by Horner's rule.
template <class V, int n>
LOOPNEST_INLINE V horner(V x, const LaneOf<V> (&c)[n]) {
    V sum = V{} + c[n - 1];
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; --i) sum = sum * x + c[i];
    return sum;
}

// Computes a float function in double, on both halves of a vector: its rounding errors are then invisible, and no
// intermediate result underflows. It takes twice the time, and some more for the conversions.
template <class F>
LOOPNEST_INLINE Vec<float> in_double(Vec<float> x, F f) {
    typedef float Half __attribute__((vector_size(vector_bytes / 2)));
    Half half[2];
    __builtin_memcpy(half, &x, sizeof x);
    half[0] = __builtin_convertvector(f(__builtin_convertvector(half[0], Vec<double>)), Half);
    half[1] = __builtin_convertvector(f(__builtin_convertvector(half[1], Vec<double>)), Half);
    __builtin_memcpy(&x, half, sizeof x);
    return x;
}

// The format of a lane's type, and the constants of exp, computed in T for a result that is finally rounded to Result.
// exp(f) = 1 + f + f² r(f) for |f| <= log(2)/2; r interpolates in Chebyshev points (made with mpmath in 50 digits) with
// an error in exp of 1e-9, 2e-18 and 2e-10. log(2) is in two parts; the first ends in zeros, so that its product with a
// whole number is exact. Below `lowest` exp rounds to 0, above `highest` to infinity.
template <class T, class Result = T>
struct ExpOf;
template <>
struct ExpOf<float> {
    static constexpr float lowest = -104.5f, highest = 89, round_to_whole = 0x1.8p23f;
    static constexpr float log2_high = 0.693115234375f, log2_low = 3.19461849e-5f;
    static constexpr float r[] = {0.5000000013f, 0.1666657697f, 0.0416664649f, 0.008363181545f, 0.001393365249f};
    static constexpr int mantissa_bits = 23, exponent_bias = 127;
};
template <>
struct ExpOf<double> {
    static constexpr double lowest = -750, highest = 710, round_to_whole = 0x1.8p52;
    static constexpr double log2_high = 0.6931471805582987144589424, log2_low = 1.646594958289708128e-12;
    static constexpr double r[] = {0.5000000000000001022,     0.1666666666666667099,    0.04166666666662412338,
                                   0.008333333333326134564,   0.001388888891721558688,  0.0001984126987482230811,
                                   0.00002480152129346386058, 2.755725539833871095e-6,  2.762008948195458879e-7,
                                   2.510521769568451767e-8};
    static constexpr int mantissa_bits = 52, exponent_bias = 1023;
};
template <>
struct ExpOf<double, float> : ExpOf<double> {
    static constexpr double lowest = -150, highest = 150;
    static constexpr double r[] = {0.50000000134658092,   0.16666666681623231,   0.041666464925285905,
                                   0.0083333109254809008, 0.001393364999630925, 0.00019890990824673654};
};

// x = n log(2) + f with a whole n and |f| <= log(2)/2, so that exp(x) = 2^n (1 + q).
template <class V>
struct Reduced {
    V q;  // exp(f) - 1
    V n;
};

template <class V, class Result>
LOOPNEST_INLINE Reduced<V> reduce(V x) {
    using T = LaneOf<V>;
    using Exp = ExpOf<T, Result>;
    // Adding a number that leaves no bits for fractions rounds x/log(2) to a whole number.
    const V n = (x * T(1.44269504088896340736) + Exp::round_to_whole) - Exp::round_to_whole;
    const V f = (x - n * Exp::log2_high) - n * Exp::log2_low;
    return {f + f * f * horner(f, Exp::r), n};
}

template <class V>
LOOPNEST_INLINE V power_of_two(V n) {  // n whole, 2^n a normal number
    using Exp = ExpOf<LaneOf<V>>;
    // The last bits of this sum are n's; the shift removes the others.
    return from_bits<V>(bits_of(n + (Exp::round_to_whole + Exp::exponent_bias)) << Exp::mantissa_bits);
}

// y 2^n, subnormal and infinite results included. 2^n is applied as two factors that do not underflow, so that the
// result is rounded once. AVX-512 has an instruction for it.
template <class V>
LOOPNEST_INLINE V times_power_of_two(V y, V n) {
#if defined(__AVX512F__)
    if constexpr (__is_same(V, Vec<float>)) return _mm512_scalef_ps(y, n);
    if constexpr (__is_same(V, Vec<double>)) return _mm512_scalef_pd(y, n);
#endif
    using T = LaneOf<V>;
    const V half = (n * T(0.5) + ExpOf<T>::round_to_whole) - ExpOf<T>::round_to_whole;
    return y * power_of_two(half) * power_of_two(n - half);
}

// exp(x), subnormal results included. In float within 1.1 ULP, measured over all 2^32 arguments.
template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE V exp_of(V x) {
    using T = LaneOf<V>;
    using Exp = ExpOf<T, Result>;
    const Reduced<V> at = reduce<V, Result>(at_most(at_least(x, Exp::lowest), Exp::highest));
    if constexpr (__is_same(T, Result)) return times_power_of_two(T(1) + at.q, at.n);
    const V scale = power_of_two(at.n);  // in double nothing that float can hold underflows
    return x < Exp::lowest ? V{} : at.q * scale + scale;
}

// exp(x) - 1 for x <= 0, with all of its digits near 0.
template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE V expm1_of_nonpositive(V x) {
    const Reduced<V> at = reduce<V, Result>(at_least(x, LaneOf<V>(-40)));  // exp(-40) vanishes next to 1
    const V scale = power_of_two(at.n);
    return scale * at.q + (scale - LaneOf<V>(1));
}

// 1 / (1 + exp(-x)) = s / (1 + s + q) with exp(-x) = (1 + q) / s, s = 2^-n. 1 + s is exact while s is not too small to
// change 1; otherwise q + s is nearly exact. So only the denominator and the quotient are rounded.
template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE V sigmoid_of(V x) {
    using T = LaneOf<V>;
    using Exp = ExpOf<T, Result>;
    const Reduced<V> at = reduce<V, Result>(at_most(at_least(-x, T(-40)), -Exp::lowest));
    if constexpr (!__is_same(T, Result)) {  // double: nothing that float can hold underflows, nor is a sum's order seen
        const V s = power_of_two(-at.n);
        return x < Exp::lowest ? V{} : s / ((T(1) + s) + at.q);
    }
    const V s = times_power_of_two(V{} + T(1), -at.n);
    return s / (s < T(0x1p-12) ? T(1) + (at.q + s) : (T(1) + s) + at.q);
}

// tanh(|x|) = -e / (2 + e) with e = exp(-2|x|) - 1, and the sign of x.
template <class V, class Result = LaneOf<V>>
LOOPNEST_INLINE V tanh_of(V x) {
    const V e = expm1_of_nonpositive<V, Result>(LaneOf<V>(-2) * magnitude(x));
    return with_sign_of(x, -e / (e + LaneOf<V>(2)));
}

}  // namespace loopnest::LOOPNEST_ISA
