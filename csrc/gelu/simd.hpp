// Within 2 ULP for every float: 32 or 8 polynomials in registers, and far arguments in double.
//
// `polynomial` is off by up to 160 ULP far below 0: exp of a rounded argument is off by as many ULPs as the argument is
// large. And exp and the divisions take most of its time. With t = |x|, both forms are
//
//     gelu(x) = max(x, 0) - t Q(t)        Q(t) = erfc(t/√2) / 2, or σ(-w(t)) in the tanh form
//
// t Q(t) is a smooth function of one number. AVX-512 can hold 32 polynomials of degree 5 for it in registers and pick
// one for each lane; AVX2 and NEON hold 8 of degree 8 (simd/pieces.hpp). There is no exp, no division and no rounded
// argument, and both forms take the same time. Below -3.8 (AVX2: -3.25) the function becomes too steep. Lanes there,
// one in 14,000 of normally distributed numbers, are put aside until they fill some vectors, and then go through the
// formulas in double: there rounding errors are invisible and nothing underflows. The slope is computed in the same
// way. SSE2 has no look-up, and float64 needs more digits: there everything goes through the formulas.
//
// The largest error in ULP over all 2^32 floats, as `loopnest inspect gelu cpp.simd --accuracy` measures it
// (docs/accuracy.md):
//
//                  v4     v3     v1                            v4     v3     v1
//     tanh form    1.54   1.20   0.51     its slope            1.03   1.16   0.51
//     exact form   1.60   1.31   0.52     its slope            1.10   1.58   0.51
//
// The limit is arithmetic. On AVX-512 16 elements take 7 look-ups and 5 fused multiply-adds, one a cycle on Zen 4, a
// comparison and 7 cheaper operations: 15 cycles, where `polynomial` takes 30 in the tanh form.
#pragma once

#include <type_traits>

#include "gelu/kernel/formulas.hpp"
#include "activations/kernel/map.hpp"
#include "simd/pieces.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

// Float by the formulas in double: right everywhere, but slower.
template <bool tanh_form>
LOOPNEST_INLINE Vec<float> gelu_in_double(Vec<float> x) {
    return in_double(x, [](Vec<double> v) { return gelu_formula<Vec<double>, float>(v, tanh_form); });
}

template <bool tanh_form>
LOOPNEST_INLINE Vec<float> slope_in_double(Vec<float> x) {
    return in_double(x, [](Vec<double> v) { return slope_formula<Vec<double>, float>(v, tanh_form); });
}

// gelu and its slope on a vector. Make one before a loop, so that the tables are loaded into registers once.
template <class T, bool tanh_form>
struct Gelu {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const {
        if constexpr (__is_same(T, float)) return gelu_in_double<tanh_form>(x);
        else return gelu_formula(x, tanh_form);
    }
};

template <class T, bool tanh_form>
struct Slope {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const {
        if constexpr (__is_same(T, float)) return slope_in_double<tanh_form>(x);
        else return slope_formula(x, tanh_form);
    }
};

#if defined(LOOPNEST_TABLES)

// Shared by Gelu and Slope: tables for arguments above -near; a signed zero below `gone`, where the exponential rounds
// to 0; the formulas in double between. (0 x is -0, and NaN at -∞, as in the formulas.) `far` is not inlined, so that a
// loop's registers are left to the tables.
template <class Self, bool tanh_form>
struct ByTables {
    static constexpr float gone = tanh_form ? -11 : -15;

    LOOPNEST_INLINE bool any_far(Vec<float> x) const { return lanes_below(x, -Self::Tables::near) != 0; }
    LOOPNEST_INLINE unsigned settle(Vec<float>& result, Vec<float> x) const {
        result = x < gone ? x * 0.0f : result;
        return lanes_below(x, -Self::Tables::near) & ~lanes_below(x, gone);
    }
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> x) const {
        Vec<float> result = static_cast<const Self*>(this)->near(x);
        if (any_far(x)) [[unlikely]]
            if (settle(result, x)) result = Self::far(x);
        return result;
    }
};

template <bool tanh_form>
struct Gelu<float, tanh_form> : ByTables<Gelu<float, tanh_form>, tanh_form> {
    using Tables = std::conditional_t<tanh_form, Pieces<gelu_tanh_form>, Pieces<gelu_exact_form>>;
    Tables tail;

    // relu(x) - tail(|x|) with tail(t) = t Q(t) or t σ(-w(t)).
    LOOPNEST_INLINE Vec<float> near(Vec<float> x) const { return larger_of(Vec<float>{}, x) - tail(magnitude(x)); }
    [[gnu::noinline]] static Vec<float> far(Vec<float> x) { return gelu_in_double<tanh_form>(x); }
};

template <bool tanh_form>
struct Slope<float, tanh_form> : ByTables<Slope<float, tanh_form>, tanh_form> {
    using Tables = std::conditional_t<tanh_form, Pieces<slope_tanh_form>, Pieces<slope_exact_form>>;
    Tables below;

    // The slopes at x and -x add up to 1; adding 0 x makes the slope at infinity NaN, as in the formulas.
    LOOPNEST_INLINE Vec<float> near(Vec<float> x) const {
        const Vec<float> s = below(magnitude(x));
        return x * 0.0f + (x < Vec<float>{} ? s : 1.0f - s);
    }
    [[gnu::noinline]] static Vec<float> far(Vec<float> x) { return slope_in_double<tanh_form>(x); }
};

#endif

template <class T>
void simd(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    tanh_form ? map(y, Gelu<T, true>{}, x) : map(y, Gelu<T, false>{}, x);
}

}  // namespace gelu

namespace gelu_backward {

// dy gelu'(x); far arguments are the slope's.
template <class T, bool tanh_form>
struct Backward {
    using Slope = gelu::Slope<T, tanh_form>;
    Slope slope;

    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x, Vec<T> dy) const { return dy * slope(x); }
    LOOPNEST_INLINE Vec<T> near(Vec<T> x, Vec<T> dy) const { return dy * slope.near(x); }
    static LOOPNEST_INLINE Vec<T> far(Vec<T> x, Vec<T> dy) { return dy * Slope::far(x); }
    LOOPNEST_INLINE bool any_far(Vec<T> x, Vec<T>) const
        requires HasFarArguments<Slope, Vec<T>>
    {
        return slope.any_far(x);
    }
    LOOPNEST_INLINE unsigned settle(Vec<T>& result, Vec<T> x, Vec<T> dy) const {
        Vec<T> at = slope.near(x);
        const unsigned left = slope.settle(at, x);
        result = dy * at;
        return left;
    }
};

template <class T>
void simd(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    tanh_form ? map(dx, Backward<T, true>{}, x, dy) : map(dx, Backward<T, false>{}, x, dy);
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
