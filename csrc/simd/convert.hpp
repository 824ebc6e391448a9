// Conversions between the formats of reduced precision and float, a vector of floats' number of elements at a time.
//
// They round to the nearest, ties to even, and keep NaN, infinity and subnormal numbers.
#pragma once

#include "reduced.hpp"
#include "simd/native.hpp"

namespace loopnest::LOOPNEST_ISA {

using Words = Vec<std::uint32_t>;
typedef std::uint16_t Halves __attribute__((vector_size(vector_bytes / 2)));
typedef std::int8_t Bytes __attribute__((vector_size(vector_bytes / 4)));

LOOPNEST_INLINE Words words_of(Vec<float> v) { return __builtin_bit_cast(Words, v); }
LOOPNEST_INLINE Vec<float> float_of(Words bits) { return __builtin_bit_cast(Vec<float>, bits); }

// Half as wide or a quarter as wide as a vector of floats.
template <class V, class T>
LOOPNEST_INLINE V load_as(const T* from) {
    V v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

LOOPNEST_INLINE Vec<float> to_float(const bfloat16* from) {
    return float_of(__builtin_convertvector(load_as<Halves>(from), Words) << 16);
}

LOOPNEST_INLINE Vec<float> to_float(const float16* from) {
#if defined(__AVX512F__)
    return _mm512_cvtph_ps(load_as<__m256i>(from));
#elif defined(__F16C__)
    return _mm256_cvtph_ps(load_as<__m128i>(from));
#else
    // The exponent moves to a float's place, 112 too small, and a multiplication puts that right; for subnormal
    // numbers, too. Infinity and NaN have all bits of the exponent set.
    const Words half = __builtin_convertvector(load_as<Halves>(from), Words);
    const Words moved = (half & 0x7fffu) << 13;
    const Words scaled = words_of(float_of(moved) * 0x1p112f);
    return float_of((half & 0x8000u) << 16 | scaled | (moved >= 0x0f800000u ? Words{} + 0x7f800000u : Words{}));
#endif
}

LOOPNEST_INLINE void round_to(bfloat16* to, Vec<float> v) {
    const Words bits = words_of(v), rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const Halves halves = __builtin_convertvector((v != v ? bits | 0x400000u : rounded) >> 16, Halves);  // quiet NaN
    __builtin_memcpy(to, &halves, sizeof halves);
}

LOOPNEST_INLINE void round_to(float16* to, Vec<float> v) {
#if defined(__AVX512F__)
    const __m256i halves = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__)
    const __m128i halves = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
#else
    const Words bits = words_of(v), magnitude = bits & 0x7fffffffu;
    // Below 2^-14 the result is subnormal: adding 0.5 shifts its bits to the end of the mantissa, and rounds them.
    const Words subnormal = words_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
    const Words normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    const Words special = magnitude > 0x7f800000u ? Words{} + 0x7e00u : Words{} + 0x7c00u;
    const Words small = magnitude < 0x38800000u ? subnormal : normal;
    const Halves halves = __builtin_convertvector((magnitude >= 0x47800000u ? special : small) | (bits >> 16 & 0x8000u),
                                                  Halves);
#endif
    __builtin_memcpy(to, &halves, sizeof halves);
}

template <class T>
    requires(sizeof(T) == 4)
LOOPNEST_INLINE void round_to(T* to, Vec<T> v) { store<T>(to, v); }

}  // namespace loopnest::LOOPNEST_ISA
