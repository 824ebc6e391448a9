// The number formats of reduced precision, and the type in which their products are summed.
#pragma once

#include <cstdint>

#include "view.hpp"

namespace loopnest {

struct bfloat16 {  // a float's upper half: 8 bits of exponent, 7 of mantissa
    std::uint16_t bits;
};
struct float16 {  // IEEE's half: 5 bits of exponent, 10 of mantissa
    std::uint16_t bits;
};

template <class T>
struct SumOf {
    using type = float;
};
template <>
struct SumOf<std::int8_t> {
    using type = std::int32_t;
};
template <class T>
using Sum = typename SumOf<T>::type;

// The signatures of REDUCED lines of rungs.def: elements T, and results in the sums' type or rounded to R. `product` is
// the rung of matmul that the others multiply with.
template <class T, class R>
using ReducedFn = void (*)(Matrix<const T> a, Matrix<const T> b, Matrix<R> c);
template <class T>
using ProductFn = ReducedFn<T, Sum<T>>;
template <class T, class R>
using ReducedScaledFn = void (*)(Matrix<const T> a, Matrix<const T> b, Vector<const float> scale_a,
                                 Vector<const float> scale_b, Matrix<R> c, ProductFn<T> product);
template <class T, class R>
using ReducedLinearFn = void (*)(Matrix<const T> x, Matrix<const T> w, Vector<const T> b, Matrix<R> y,
                                 ProductFn<T> product);
template <class T, class R>
using ReducedMlpForwardFn = void (*)(Matrix<const T> x, Matrix<const T> w1, Vector<const T> b1, Matrix<const T> w2,
                                     Vector<const T> b2, Matrix<R> z, Matrix<R> h, Matrix<R> y, bool tanh_form,
                                     ProductFn<T> product);

// A line as functions. A kernel has null for types that it does not take.
template <template <class, class> class Fn>
struct ReducedKernel {
    Fn<bfloat16, float> bf16_to_f32;
    Fn<bfloat16, bfloat16> bf16;
    Fn<float16, float> f16_to_f32;
    Fn<float16, float16> f16;
    Fn<std::int8_t, std::int32_t> i8_to_i32;
    Fn<std::int8_t, float> i8_to_f32;
};

}  // namespace loopnest
