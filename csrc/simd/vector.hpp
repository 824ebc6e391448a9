// The one vector type: as many Ts as a register of this ISA level holds, by GCC's and Clang's vector extensions.
//
// +, -, *, / and comparisons work lane by lane, a scalar operand is broadcast, and a * b + c becomes one fused
// multiply-add where the ISA has it. The compiler allocates registers and schedules; what is written here is only
// what the language cannot say.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA {

#if defined(__AVX512F__)
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
LOOPNEST_INLINE void store(T* to, Vec<T> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

template <class T>
LOOPNEST_INLINE Vec<T> broadcast(T s) {
    return s - Vec<T>{};  // s - 0 keeps the sign of a zero, which s + 0 would lose
}

template <class T>
LOOPNEST_INLINE T sum_of_lanes(Vec<T> v) {
    T sum = v[0];
    for (int lane = 1; lane < lanes<T>; ++lane) sum += v[lane];
    return sum;
}

}  // namespace loopnest::LOOPNEST_ISA
