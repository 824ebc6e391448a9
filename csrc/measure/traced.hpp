// An element type that reports every load and store to the tracer: with it a rung's own template gives its addresses.
//
//     matmul::naive<Traced<float>>(a, b, c)
//
// is the loop of matmul::naive<float> with the same result, but each element that it reads or writes goes to the
// simulator. The accesses are the source's: a compiler that keeps an element in a register makes fewer of them, but
// saves only hits in L1. A load or store of a vector is one access. Vectors are as wide as the ISA level's
// (LOOPNEST_VECTOR_BYTES), computed with the baseline's instructions. __builtin_prefetch fetches nothing here.
#pragma once

#include <type_traits>

#include "measure/tracer.hpp"
#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA {

// Not inlined: a rung has hundreds of accesses, and the compiler would take minutes.
[[gnu::noinline]] inline void trace(const void* at, index bytes, bool write) { tracer->access(at, bytes, write); }

template <class T>
struct Traced {
    T value;

    Traced() = default;
    LOOPNEST_INLINE Traced(T x) : value(x) {}  // a new local variable: a register
    LOOPNEST_INLINE Traced(const Traced& other) : value(T(other)) {}
    LOOPNEST_INLINE Traced& operator=(T x) {
        trace(this, sizeof(T), true);
        value = x;
        return *this;
    }
    LOOPNEST_INLINE Traced& operator=(const Traced& other) { return *this = T(other); }
    LOOPNEST_INLINE Traced& operator+=(T x) { return *this = T(*this) + x; }
    LOOPNEST_INLINE operator T() const {
        trace(this, sizeof(T), false);
        return value;
    }
};

template <class T>
inline constexpr bool is_traced = false;
template <class T>
inline constexpr bool is_traced<Traced<T>> = true;
template <class T>
concept IsTraced = is_traced<T>;

// A vector is in a register and holds plain numbers.
template <class T>
struct VectorOf<Traced<T>> {
    using type = Vec<T>;
};

template <class T>
LOOPNEST_INLINE Vec<T> operator*(const Traced<T>& s, typename VectorOf<T>::type v) { return T(s) * v; }
template <class T>
LOOPNEST_INLINE Vec<T> operator-(const Traced<T>& s, typename VectorOf<T>::type v) {
    return T(s) - v;
}

template <IsTraced T>
LOOPNEST_INLINE Vec<T> load_first(const T* from, index count) {
    trace(from, count * index(sizeof(T)), false);
    Vec<T> v = {};
    __builtin_memcpy(&v, static_cast<const void*>(from), std::size_t(count) * sizeof(T));
    return v;
}

template <IsTraced T>
LOOPNEST_INLINE void store_first(T* to, Vec<T> v, index count) {
    trace(to, count * index(sizeof(T)), true);
    __builtin_memcpy(static_cast<void*>(to), &v, std::size_t(count) * sizeof(T));
}

template <IsTraced T>
LOOPNEST_INLINE Vec<T> load(const T* from) { return load_first(from, lanes<T>); }

template <IsTraced T>
LOOPNEST_INLINE void store(T* to, Vec<T> v) { store_first(to, v, lanes<T>); }

template <int count, IsTraced T>
LOOPNEST_INLINE void copy_elements(T* to, const T* from) {
    trace(from, count * index(sizeof(T)), false);
    trace(to, count * index(sizeof(T)), true);
    __builtin_memcpy(static_cast<void*>(to), static_cast<const void*>(from), count * sizeof(T));
}

}  // namespace loopnest::LOOPNEST_ISA

namespace loopnest {

template <class T>
    requires LOOPNEST_ISA::IsTraced<T>
LOOPNEST_INLINE T* scratch(Slot slot, index count) {
    T* const memory = static_cast<T*>(scratch(slot, count * index(sizeof(T))));
    tracer->add_scratch(slot, memory, count * index(sizeof(T)));
    return memory;
}

}  // namespace loopnest
