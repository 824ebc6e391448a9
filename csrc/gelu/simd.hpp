// On explicit vectors, and within 2 ULP for every float: by 32 polynomials in registers, or by the formulas in double.
//
// `polynomial` is off by up to 7 ULP beneath 0, since exp of a rounded argument is off by as many roundings as the argument
// is large; and most of its time goes into that exp. Both forms are, with t = |x|,
//
//     gelu(x) = max(x, 0) - t Q(t)        Q(t) = erfc(t/√2) / 2, or σ(-w(t)) in the tanh form
//
// and t Q(t) is a smooth function of one number. AVX-512 can hold 32 polynomials of degree 5 for it in registers and pick
// one for each lane (simd/pieces.hpp): no exp, no division, no rounded argument. Left of -3.8 the function becomes too steep
// for that, and a vector with a lane there goes through the formulas in double, in which no rounding error of theirs is
// seen and nothing underflows. Whole vectors branch so; of normally distributed numbers one in 900 does.
//
// The other ISAs have no such look-up: there all goes through double, at half as many lanes a register.
//
// Measured over all 2^32 floats (`loopnest accuracy gelu gelu_backward`): MEASURED
//
// The limit is arithmetic: 7 look-ups, 5 fused multiply-adds, a comparison and 6 cheaper operations for 16 elements,
// of which Zen 4 begins 2 at 512 bits in a cycle: 14 cycles, against 27 of `polynomial` in the tanh form. In double the
// limit is the same as that of `polynomial`, twice.
#pragma once

#include <type_traits>

#include "gelu/formulas.hpp"
#include "simd/map.hpp"
#include "simd/pieces.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

// gelu and its slope on a vector, for whoever applies them in a loop: made before it, so that the tables get there once.
template <class T, bool tanh_form>
struct Gelu {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const { return gelu_formula(x, tanh_form); }
};

template <class T, bool tanh_form>
struct Slope {
    LOOPNEST_INLINE Vec<T> operator()(Vec<T> x) const { return slope_formula(x, tanh_form); }
};

// Float by the formulas in double: everywhere, but not as fast. Out of line, so that a loop's registers stay the fast path's.
template <bool tanh_form>
[[gnu::noinline]] Vec<float> gelu_in_double(Vec<float> x) {
    return in_double(x, [](Vec<double> v) { return gelu_formula<Vec<double>, float>(v, tanh_form); });
}

template <bool tanh_form>
[[gnu::noinline]] Vec<float> slope_in_double(Vec<float> x) {
    return in_double(x, [](Vec<double> v) { return slope_formula<Vec<double>, float>(v, tanh_form); });
}

#if defined(LOOPNEST_TABLES)

// What Gelu and Slope have in common: tables for arguments above -near, nothing but the sign of 0 below `gone`, where the
// exponential rounds to 0, and the formulas in double between. (0 x is -0, and NaN at -∞, as the formulas have it.)
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
    using Tables = std::conditional_t<tanh_form, Pieces<GeluTanhForm>, Pieces<GeluErfForm>>;
    Tables tail;

    // relu(x) - tail(|x|) with tail(t) = t Q(t) or t σ(-w(t)).
    LOOPNEST_INLINE Vec<float> near(Vec<float> x) const { return larger_of(Vec<float>{}, x) - tail(magnitude(x)); }
    static LOOPNEST_INLINE Vec<float> far(Vec<float> x) { return gelu_in_double<tanh_form>(x); }
};

template <bool tanh_form>
struct Slope<float, tanh_form> : ByTables<Slope<float, tanh_form>, tanh_form> {
    using Tables = std::conditional_t<tanh_form, Pieces<SlopeTanhForm>, Pieces<SlopeErfForm>>;
    Tables below;

    // The slopes at x and -x add up to 1; 0 x makes the one at infinity NaN, as the formulas have it.
    LOOPNEST_INLINE Vec<float> near(Vec<float> x) const {
        const Vec<float> s = below(magnitude(x));
        return x * 0.0f + (x < Vec<float>{} ? s : 1.0f - s);
    }
    static LOOPNEST_INLINE Vec<float> far(Vec<float> x) { return slope_in_double<tanh_form>(x); }
};

#else

template <bool tanh_form>
struct Gelu<float, tanh_form> {
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> x) const { return gelu_in_double<tanh_form>(x); }
};

template <bool tanh_form>
struct Slope<float, tanh_form> {
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> x) const { return slope_in_double<tanh_form>(x); }
};

#endif

template <class V>
LOOPNEST_INLINE V gelu_of(V x, bool tanh_form) {
    using T = LaneOf<V>;
    return tanh_form ? Gelu<T, true>{}(x) : Gelu<T, false>{}(x);
}

template <class V>
LOOPNEST_INLINE V slope_of(V x, bool tanh_form) {
    using T = LaneOf<V>;
    return tanh_form ? Slope<T, true>{}(x) : Slope<T, false>{}(x);
}

template <class T>
void simd(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    if (tanh_form)
        map(y, Gelu<T, true>{}, x);
    else
        map(y, Gelu<T, false>{}, x);
}

}  // namespace gelu

namespace gelu_backward {

// dy gelu'(x), with the slope's far arguments.
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
    if (tanh_form)
        map(dx, Backward<T, true>{}, x, dy);
    else
        map(dx, Backward<T, false>{}, x, dy);
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
