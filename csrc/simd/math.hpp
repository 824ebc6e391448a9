// exp and what is made of it, without calls and without branches: on a number, or on every lane of a vector at once.
//
// Each function is a template over V, which is float, double or a Vec of them. The explicit rungs use it with Vec; the
// auto-vectorized ones with numbers, in loops that the compiler then turns into vector instructions.
#pragma once

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA {

template <class V>
struct Lanes {  // V a vector: the type of a lane, and an integer vector of the same shape
    using T = __typeof__(V{}[0] + 0);
    using Int = decltype(V{} < V{});
};
template <>
struct Lanes<float> {
    using T = float;
    using Int = std::int32_t;
};
template <>
struct Lanes<double> {
    using T = double;
    using Int = std::int64_t;
};

template <class V>
using LaneOf = typename Lanes<V>::T;
template <class V>
using IntOf = typename Lanes<V>::Int;

template <class V>
LOOPNEST_INLINE V magnitude(V x) {
    return x < V{} ? -x : x;
}

// |y| with x's sign, a zero's too.
template <class V>
LOOPNEST_INLINE V with_sign_of(V x, V y) {
    const IntOf<V> sign = __builtin_bit_cast(IntOf<V>, -V{});
    const IntOf<V> bits = (__builtin_bit_cast(IntOf<V>, y) & ~sign) | (__builtin_bit_cast(IntOf<V>, x) & sign);
    return __builtin_bit_cast(V, bits);
}

template <class V>
LOOPNEST_INLINE V at_least(V x, LaneOf<V> bound) {  // NaN stays NaN
    return x < bound ? V{} + bound : x;
}

template <class V>
LOOPNEST_INLINE V at_most(V x, LaneOf<V> bound) {
    return x > bound ? V{} + bound : x;
}

// c[0] + c[1] x + … + c[n-1] x^(n-1), by Horner's rule.
template <class V, int n>
LOOPNEST_INLINE V polynomial(V x, const LaneOf<V> (&c)[n]) {
    V sum = V{} + c[n - 1];
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; --i) sum = sum * x + c[i];
    return sum;
}

// The constants of exp for each type. exp(f) = 1 + f + f² r(f) for |f| <= log(2)/2; r interpolates in Chebyshev points (made
// with mpmath in 50 digits), with an error of 8e-9 and 1e-17. log(2) is in two parts, of which the first has so many
// zeros at its end that its product with a whole number is exact.
template <class T>
struct ExpOf;
template <>
struct ExpOf<float> {
    static constexpr float lowest = -110, round_to_whole = 0x1.8p23f;  // exp(-104) rounds to 0
    static constexpr float log2_high = 0.693115234375f, log2_low = 3.19461849e-5f;
    static constexpr float r[] = {0.5000000013f, 0.1666657697f, 0.0416664649f, 0.008363181545f, 0.001393365249f};
    static constexpr int mantissa_bits = 23, exponent_bias = 127;
};
template <>
struct ExpOf<double> {
    static constexpr double lowest = -750, round_to_whole = 0x1.8p52;
    static constexpr double log2_high = 0.6931471805582987144589424, log2_low = 1.646594958289708128e-12;
    static constexpr double r[] = {0.5000000000000001022,     0.1666666666666667099,    0.04166666666662412338,
                                   0.008333333333326134564,   0.001388888891721558688,  0.0001984126987482230811,
                                   0.00002480152129346386058, 2.755725539833871095e-6,  2.762008948195458879e-7,
                                   2.510521769568451767e-8};
    static constexpr int mantissa_bits = 52, exponent_bias = 1023;
};

// x = n log(2) + f with a whole n and |f| <= log(2)/2, so that exp(x) = 2^n (1 + q).
template <class V>
struct Reduced {
    V q;         // exp(f) - 1
    IntOf<V> n;
};

template <class V>
LOOPNEST_INLINE Reduced<V> reduce(V x) {
    using T = LaneOf<V>;
    using Exp = ExpOf<T>;
    // Added to a number that leaves no bits for fractions, x/log(2) is rounded, and the low bits hold the whole number.
    const V shifted = x * T(1.44269504088896340736) + Exp::round_to_whole;
    const V n = shifted - Exp::round_to_whole;
    const V f = (x - n * Exp::log2_high) - n * Exp::log2_low;
    const V q = f + f * f * polynomial(f, Exp::r);
    const V origin = V{} + Exp::round_to_whole;
    return {q, __builtin_bit_cast(IntOf<V>, shifted) - __builtin_bit_cast(IntOf<V>, origin)};
}

template <class V>
LOOPNEST_INLINE V power_of_two(IntOf<V> n) {
    using Exp = ExpOf<LaneOf<V>>;
    const IntOf<V> bits = (n + Exp::exponent_bias) << Exp::mantissa_bits;
    return __builtin_bit_cast(V, bits);
}

// exp(x) for x <= 0, within 1.5 ULP, subnormal results included: 2^n is applied in two factors, of which neither
// underflows, so that the result is rounded once.
template <class V>
LOOPNEST_INLINE V exp_of_nonpositive(V x) {
    const Reduced<V> at = reduce(at_least(x, ExpOf<LaneOf<V>>::lowest));
    const IntOf<V> half = at.n >> 1;
    return (at.q * power_of_two<V>(half) + power_of_two<V>(half)) * power_of_two<V>(at.n - half);
}

// exp(x) - 1 for x <= 0, with all of its digits near 0.
template <class V>
LOOPNEST_INLINE V expm1_of_nonpositive(V x) {
    const Reduced<V> at = reduce(at_least(x, LaneOf<V>(-40)));  // exp(-40) is nothing beside 1
    const V scale = power_of_two<V>(at.n);
    return scale * at.q + (scale - LaneOf<V>(1));
}

// 1 / (1 + exp(-x)). With t = exp(-|x|) nothing overflows, and neither tail loses digits.
template <class V>
LOOPNEST_INLINE V sigmoid_of(V x, V t) {
    const V one = V{} + LaneOf<V>(1);
    return (x < V{} ? t : one) / (one + t);
}

template <class V>
LOOPNEST_INLINE V sigmoid_of(V x) {
    return sigmoid_of(x, exp_of_nonpositive(-magnitude(x)));
}

// tanh(|x|) = -e / (2 + e) with e = exp(-2|x|) - 1, and the sign of x.
template <class V>
LOOPNEST_INLINE V tanh_of(V x) {
    const V e = expm1_of_nonpositive(LaneOf<V>(-2) * magnitude(x));
    return with_sign_of(x, -e / (e + LaneOf<V>(2)));
}

// What the explicit rungs share: f of each element of a row, a vector at a time. A rest shorter than a vector, and rows
// with gaps, go through a vector's worth of memory.
template <class T, class F, class... Rows>
LOOPNEST_INLINE void map_row(Vector<T> y, F f, Rows... x) {
    if (y.contiguous() && (x.contiguous() && ...)) {
        index j = 0;
        for (; j + lanes<T> <= y.size; j += lanes<T>) store<T>(y.data + j, f(load(x.data + j)...));
        if (j < y.size) {
            const auto rest = [=](const T* from) {
                T buffer[lanes<T>] = {};
                for (index lane = 0; j + lane < y.size; ++lane) buffer[lane] = from[j + lane];
                return load(buffer);
            };
            const Vec<T> result = f(rest(x.data)...);
            for (index lane = 0; j + lane < y.size; ++lane) y.data[j + lane] = result[lane];
        }
        return;
    }
    for (index j = 0; j < y.size; j += lanes<T>) {
        const index count = smaller(lanes<T>, y.size - j);
        const auto gathered = [=](Vector<const T> row) {
            T buffer[lanes<T>] = {};
            for (index lane = 0; lane < count; ++lane) buffer[lane] = row[j + lane];
            return load(buffer);
        };
        const Vec<T> result = f(gathered(x)...);
        for (index lane = 0; lane < count; ++lane) y[j + lane] = result[lane];
    }
}

template <class T, class F, class... Inputs>
LOOPNEST_INLINE void map(Matrix<T> y, F f, Inputs... x) {
    for (index i = 0; i < y.rows; ++i) map_row(y.row(i), f, x.row(i)...);
}

}  // namespace loopnest::LOOPNEST_ISA
