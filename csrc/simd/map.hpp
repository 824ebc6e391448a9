// What the elementwise rungs share: y = f(x), a vector at a time.
//
// What is shorter than a vector (a row's end, or its start until the first aligned address) and rows with gaps go through
// a vector's worth of memory. Results larger than the last cache are streamed past it (see stream in simd/native.hpp):
// 2^24 floats are then 128 MiB to move instead of 192, and a cheap function takes the time of such a copy. What is to be
// read is asked for a page ahead: the processor's own prefetcher stops at the pages' ends, and GELU took a fifth longer.
#pragma once

#include "machine/caches.hpp"
#include "simd/native.hpp"

namespace loopnest::LOOPNEST_ISA {

inline constexpr index ahead = 4096;  // bytes

template <class T>
LOOPNEST_INLINE Vec<T> gather(Vector<const T> row, index j, index count) {
    T buffer[lanes<T>] = {};
    for (index lane = 0; lane < count; ++lane) buffer[lane] = row[j + lane];
    return load(buffer);
}

template <class T>
LOOPNEST_INLINE void scatter(Vec<T> v, Vector<T> row, index j, index count) {
    for (index lane = 0; lane < count; ++lane) row[j + lane] = v[lane];
}

template <bool streamed = false, class T, class F, class... Rows>
LOOPNEST_INLINE void map_row(Vector<T> y, F f, Rows... x) {
    const auto part = [=](index j, index count) { scatter<T>(f(gather<T>(x, j, count)...), y, j, count); };
    index j = 0;
    if (y.contiguous() && (x.contiguous() && ...)) {
        if constexpr (streamed) {
            const index past = index(reinterpret_cast<std::uintptr_t>(y.data) % vector_bytes / sizeof(T));
            j = smaller(past ? lanes<T> - past : 0, y.size);
            if (j > 0) part(0, j);
            for (; j + lanes<T> <= y.size; j += lanes<T>) {
                (__builtin_prefetch(x.data + j + ahead / index(sizeof(T))), ...);
                stream<T>(y.data + j, f(load(x.data + j)...));
            }
            end_of_stream();
        } else {
            for (; j + lanes<T> <= y.size; j += lanes<T>) store<T>(y.data + j, f(load(x.data + j)...));
        }
    }
    for (; j < y.size; j += lanes<T>) part(j, smaller(lanes<T>, y.size - j));
}

template <class T, class F, class... Inputs>
LOOPNEST_INLINE void map(Matrix<T> y, F f, Inputs... x) {
    if (y.rows * y.cols * index(sizeof(T)) > cache_sizes().l3)
        for (index i = 0; i < y.rows; ++i) map_row<true>(y.row(i), f, x.row(i)...);
    else
        for (index i = 0; i < y.rows; ++i) map_row(y.row(i), f, x.row(i)...);
}

}  // namespace loopnest::LOOPNEST_ISA
