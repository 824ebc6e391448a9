// The one vector type: as many Ts as a register of this ISA level holds, by GCC's and Clang's vector extensions.
//
// +, -, *, / and comparisons work lane by lane, a scalar operand is broadcast, and a * b + c becomes one fused
// multiply-add if the ISA has it. The compiler allocates registers and schedules. This file holds only what the
// language cannot say.
#pragma once

#include <utility>

#include "view.hpp"

#if defined(__AVX__)
#include <immintrin.h>  // only for the masked loads and stores
#endif

namespace loopnest::LOOPNEST_ISA {

#if defined(LOOPNEST_VECTOR_BYTES)  // another level's vectors, made of this one's: measure/traced.hpp
inline constexpr int vector_bytes = LOOPNEST_VECTOR_BYTES, vector_registers = LOOPNEST_VECTOR_REGISTERS;
#elif defined(__AVX512F__)
inline constexpr int vector_bytes = 64, vector_registers = 32;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32, vector_registers = 16;
#elif defined(__aarch64__)
inline constexpr int vector_bytes = 16, vector_registers = 32;
#else  // SSE2, which every x86-64 has
inline constexpr int vector_bytes = 16, vector_registers = 16;
#endif

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(vector_bytes)));
};

template <class T>
using Vec = typename VectorOf<T>::type;

template <class T>
inline constexpr int lanes = vector_bytes / sizeof(T);

template <class T>
LOOPNEST_INLINE Vec<T> load(const T* from) {
    Vec<T> v;
    __builtin_memcpy(&v, from, sizeof v);  // one unaligned load
    return v;
}

template <class T>
LOOPNEST_INLINE void store(T* to, Vec<T> v) { __builtin_memcpy(to, &v, sizeof v); }

// The first `count` elements, 1 to lanes of them, and zeros: no byte beyond them is touched. AVX has masked
// instructions for this; elsewhere vectors are short and are filled lane by lane.
template <class T>
LOOPNEST_INLINE Vec<T> load_first(const T* from, index count) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return Vec<T>(_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), from));
    else
        return Vec<T>(_mm512_maskz_loadu_pd(__mmask8((1u << count) - 1), from));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        return Vec<T>(_mm256_maskload_ps(reinterpret_cast<const float*>(from),  // or integers of this size
                                         _mm256_cmpgt_epi32(_mm256_set1_epi32(int(count)),
                                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))));
    else
        return Vec<T>(_mm256_maskload_pd(from, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count),
                                                                  _mm256_setr_epi64x(0, 1, 2, 3))));
#else
    Vec<T> v = {};
    for (int lane = 0; lane < lanes<T>; ++lane)
        if (lane < count) v[lane] = from[lane];
    return v;
#endif
}

template <class T>
LOOPNEST_INLINE void store_first(T* to, Vec<T> v, index count) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        _mm512_mask_storeu_ps(to, __mmask16((1u << count) - 1), __m512(v));
    else
        _mm512_mask_storeu_pd(to, __mmask8((1u << count) - 1), __m512d(v));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        _mm256_maskstore_ps(reinterpret_cast<float*>(to),
                            _mm256_cmpgt_epi32(_mm256_set1_epi32(int(count)),
                                               _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), __m256(v));
    else
        _mm256_maskstore_pd(to, _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3)),
                            __m256d(v));
#else
    for (int lane = 0; lane < lanes<T>; ++lane)
        if (lane < count) to[lane] = v[lane];
#endif
}

// `count` elements, `stride` apart, at most a vector of them, and zeros.
template <class T>
LOOPNEST_INLINE Vec<T> gather(const T* from, index stride, index count) {
    Vec<T> v = {};
    for (int lane = 0; lane < lanes<T>; ++lane)
        if (lane < count) v[lane] = from[lane * stride];
    return v;
}

template <int count, class T>
LOOPNEST_INLINE void copy_elements(T* to, const T* from) { __builtin_memcpy(to, from, count * sizeof(T)); }

// A vector of elements `stride` apart, or the rest of a row if `count` is less.
template <class T>
LOOPNEST_INLINE Vec<T> load_rest(const T* from, index count, index stride = 1) {
    return stride != 1 ? gather(from, stride, count) : count >= lanes<T> ? load(from) : load_first(from, count);
}

template <class T>
LOOPNEST_INLINE void store_rest(T* to, Vec<T> v, index count) {
    count >= lanes<T> ? store<T>(to, v) : store_first<T>(to, v, count);
}

template <class T>
LOOPNEST_INLINE Vec<T> broadcast(T s) {
    return s - Vec<T>{};  // s - 0 keeps the sign of a zero, which s + 0 would lose
}

// Lane l of the result is x[l] + x[l ^ distance] if l lacks the bit `distance`, and y[l] + y[l ^ distance] if it has
// it.
template <class T, int distance, int... lane>
LOOPNEST_INLINE Vec<T> add_lanes(Vec<T> x, Vec<T> y, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(x, y, ((lane & distance) ? lanes<T> + lane : lane)...) +
           __builtin_shufflevector(x, y, ((lane & distance) ? lanes<T> + (lane ^ distance) : (lane ^ distance))...);
}

// Lane i of the result is the sum of v[i]'s lanes, for 1, 2, 4, … up to `lanes` vectors. Pairs become one vector until
// one is left: four sums of 16 lanes take 5 additions. One by one they would take 60, each waiting for the last.
template <class T, int distance = 1, std::size_t n>
LOOPNEST_INLINE Vec<T> sums_of_lanes(const Vec<T> (&v)[n]) {
    if constexpr (distance == lanes<T>) {
        return v[0];
    } else {
        constexpr std::size_t half = n > 1 ? n / 2 : 1;
        Vec<T> sums[half];
        for (std::size_t i = 0; i < half; ++i)
            sums[i] = add_lanes<T, distance>(v[i * (n / half)], v[(i + 1) * (n / half) - 1],
                                             std::make_integer_sequence<int, lanes<T>>{});
        return sums_of_lanes<T, 2 * distance>(sums);
    }
}

template <class T>
LOOPNEST_INLINE T sum_of_lanes(Vec<T> v) { return sums_of_lanes<T>({v})[0]; }

// Transposes the square of lanes x lanes elements in v: v[i][j] <-> v[j][i]. For distances of 1, 2, 4 … each pair of
// vectors that far apart exchanges the lanes that far apart.
template <class T, int distance, int... lane>
LOOPNEST_INLINE void exchange_lanes(Vec<T> (&v)[lanes<T>], std::integer_sequence<int, lane...>) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i)
        if (!(i & distance)) {
            const Vec<T> x = v[i], y = v[i + distance];
            v[i] = __builtin_shufflevector(x, y, ((lane & distance) ? lanes<T> + lane - distance : lane)...);
            v[i + distance] = __builtin_shufflevector(x, y, ((lane & distance) ? lanes<T> + lane : lane + distance)...);
        }
}

template <class T, int distance = 1>
LOOPNEST_INLINE void transpose_lanes(Vec<T> (&v)[lanes<T>]) {
    if constexpr (distance < lanes<T>) {
        exchange_lanes<T, distance>(v, std::make_integer_sequence<int, lanes<T>>{});
        transpose_lanes<T, distance * 2>(v);
    }
}

}  // namespace loopnest::LOOPNEST_ISA
