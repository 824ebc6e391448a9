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

// c = a b for elements of type T, with c in the sums' type or rounded to T: a REDUCED line of rungs.def as functions.
// A rung has null for a type that it does not take.
template <class T, class R>
using ReducedFn = void (*)(Matrix<const T> a, Matrix<const T> b, Matrix<R> c);

struct ReducedKernel {
    ReducedFn<bfloat16, float> bf16_to_f32;
    ReducedFn<bfloat16, bfloat16> bf16;
    ReducedFn<float16, float> f16_to_f32;
    ReducedFn<float16, float16> f16;
    ReducedFn<std::int8_t, std::int32_t> i8_to_i32;
};

}  // namespace loopnest
