// The few things that GCC's and Clang's vector extensions cannot say, each behind one function, with an ISA's own
// instruction where it has one and the same in plain terms where it has none.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA {

// a < b ? a : b, lane by lane: b where either is NaN. (For AVX-512 GCC makes two instructions of the selection.)
template <class V>
LOOPNEST_INLINE V smaller_of(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (__is_same(V, Vec<float>)) return _mm512_min_ps(a, b);
    if constexpr (__is_same(V, Vec<double>)) return _mm512_min_pd(a, b);
#endif
    return a < b ? a : b;
}

// a > b ? a : b, lane by lane: b where either is NaN, or where both are zero.
template <class V>
LOOPNEST_INLINE V larger_of(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (__is_same(V, Vec<float>)) return _mm512_max_ps(a, b);
    if constexpr (__is_same(V, Vec<double>)) return _mm512_max_pd(a, b);
#endif
    return a > b ? a : b;
}

// Whether any lane of x is less than bound.
LOOPNEST_INLINE bool any_lane_below(Vec<float> x, float bound) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(x, Vec<float>{} + bound, _CMP_LT_OQ) != 0;
#elif defined(__AVX__)
    return _mm256_movemask_ps(_mm256_cmp_ps(x, Vec<float>{} + bound, _CMP_LT_OQ)) != 0;
#elif defined(__x86_64__)
    return _mm_movemask_ps(_mm_cmplt_ps(x, Vec<float>{} + bound)) != 0;
#else
    const auto below = __builtin_bit_cast(VectorOf<std::int64_t>::type, x < bound);
    return (below[0] | below[1]) != 0;
#endif
}

#if defined(__AVX512F__)
// table[k & 31] for each lane's k, from a table of 32 floats in two registers: one instruction, no memory access.
LOOPNEST_INLINE Vec<float> look_up(Vec<float> low, Vec<float> high, VectorOf<std::int32_t>::type k) {
    return _mm512_permutex2var_ps(low, __builtin_bit_cast(__m512i, k), high);
}
#endif

// A store past the caches, for results that would not stay there until they are read. A usual store makes the cache
// fetch the line first, to be overwritten: that is a third of what a copy moves. `to` is aligned to the vector's size.
template <class T>
LOOPNEST_INLINE void stream(T* to, Vec<T> v) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), __builtin_bit_cast(__m512i, v));
#elif defined(__AVX__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), __builtin_bit_cast(__m256i, v));
#elif defined(__x86_64__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), __builtin_bit_cast(__m128i, v));
#else
    store<T>(to, v);
#endif
}

// After the last of them: other threads see what was streamed.
LOOPNEST_INLINE void end_of_stream() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

}  // namespace loopnest::LOOPNEST_ISA
