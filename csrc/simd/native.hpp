// What GCC's and Clang's vector extensions cannot say: one function each, with an ISA's own instruction if it has one,
// and in plain terms otherwise.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA {

// a < b ? a : b, lane by lane: b if either is NaN. (For AVX-512 GCC makes two instructions of the selection.)
template <class V>
LOOPNEST_INLINE V smaller_of(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (__is_same(V, Vec<float>)) return _mm512_min_ps(a, b);
    if constexpr (__is_same(V, Vec<double>)) return _mm512_min_pd(a, b);
#endif
    return a < b ? a : b;
}

// a > b ? a : b, lane by lane: b if either is NaN or both are zero.
template <class V>
LOOPNEST_INLINE V larger_of(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (__is_same(V, Vec<float>)) return _mm512_max_ps(a, b);
    if constexpr (__is_same(V, Vec<double>)) return _mm512_max_pd(a, b);
#endif
    return a > b ? a : b;
}

// A bit for each lane of x that is less than bound; the first lane's is the lowest.
LOOPNEST_INLINE unsigned lanes_below(Vec<float> x, float bound) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(x, Vec<float>{} + bound, _CMP_LT_OQ);
#elif defined(__AVX__)
    return unsigned(_mm256_movemask_ps(_mm256_cmp_ps(x, Vec<float>{} + bound, _CMP_LT_OQ)));
#elif defined(__x86_64__)
    return unsigned(_mm_movemask_ps(_mm_cmplt_ps(x, Vec<float>{} + bound)));
#else
    unsigned bits = 0;
    for (int lane = 0; lane < lanes<float>; ++lane) bits |= unsigned(x[lane] < bound) << lane;
    return bits;
#endif
}

// Stores the lanes of v that have a bit in `chosen`, one after the other. `to` has room for a whole vector.
template <class E, class V>
LOOPNEST_INLINE void store_chosen(E* to, V v, unsigned chosen) {
#if defined(__AVX512F__)  // compressed in a register: a compressing store takes Zen 4 some hundred cycles
    if constexpr (sizeof(v[0]) == 4) {
        const __m512i together = _mm512_maskz_compress_epi32(__mmask16(chosen), __builtin_bit_cast(__m512i, v));
        __builtin_memcpy(to, &together, sizeof together);
        return;
    }
#endif
    for (; chosen; chosen &= chosen - 1) *to++ = v[__builtin_ctz(chosen)];
}

// table[k mod entries] for each lane's k, from a table of floats in registers: one instruction and no memory access,
// while there are registers. SSE2 has no such instruction.
#if defined(__AVX512F__)
#define LOOPNEST_TABLES
struct Table {
    static constexpr int entries = 32;
    Vec<float> low, high;

    Table() = default;
    explicit LOOPNEST_INLINE Table(const float (&table)[entries]) : low(load(table)), high(load(table + 16)) {}
    LOOPNEST_INLINE Vec<float> operator[](VectorOf<std::int32_t>::type k) const {
        return _mm512_permutex2var_ps(low, __builtin_bit_cast(__m512i, k), high);
    }
};
#elif defined(__AVX2__)
#define LOOPNEST_TABLES
struct Table {
    static constexpr int entries = 8;
    Vec<float> all;

    Table() = default;
    explicit LOOPNEST_INLINE Table(const float (&table)[entries]) : all(load(table)) {}
    LOOPNEST_INLINE Vec<float> operator[](VectorOf<std::int32_t>::type k) const {
        return _mm256_permutevar8x32_ps(all, __builtin_bit_cast(__m256i, k));
    }
};
#elif defined(__aarch64__)
#define LOOPNEST_TABLES
struct Table {  // NEON looks up bytes: 4 k to 4 k + 3 for each lane
    static constexpr int entries = 8;
    uint8x16x2_t all;

    Table() = default;
    explicit LOOPNEST_INLINE Table(const float (&table)[entries])
        : all{vreinterpretq_u8_f32(vld1q_f32(table)), vreinterpretq_u8_f32(vld1q_f32(table + 4))} {}
    LOOPNEST_INLINE Vec<float> operator[](VectorOf<std::int32_t>::type k) const {
        const auto bytes = (k & (entries - 1)) * 0x04040404 + 0x03020100;
        return vreinterpretq_f32_u8(vqtbl2q_u8(all, __builtin_bit_cast(uint8x16_t, bytes)));
    }
};
#endif

// Elements from the last multiple of a vector's size, with AVX-512 the start of a cache line, up to here.
template <class T>
LOOPNEST_INLINE index past_line(const T* at) {
    return index(reinterpret_cast<std::uintptr_t>(at) % vector_bytes / sizeof(T));
}
// Elements from here to the next one.
template <class T>
LOOPNEST_INLINE index until_line(const T* at) { return (lanes<T> - past_line(at)) % lanes<T>; }

// A store past the caches, for results that would be evicted before they are read. An ordinary store first fetches the
// line that it overwrites: a third of what a copy moves. `to` is aligned to the vector's size.
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

// After the last of them: makes streamed stores visible to other threads.
LOOPNEST_INLINE void end_of_stream() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

}  // namespace loopnest::LOOPNEST_ISA
