// What the elementwise rungs share: y = f(x), a vector at a time.
//
// Partial vectors (row ends, unaligned starts) and strided rows go through a one-vector buffer. Results larger than the
// last cache are streamed past it (`stream` in simd/native.hpp): 2^24 floats then move 128 MiB instead of 192, and a
// cheap function takes the time of such a copy. Inputs are prefetched a page ahead: the hardware's prefetcher stops at
// page ends, and GELU took a fifth longer without.
#pragma once

#include <utility>

#include "runtime/caches.hpp"
#include "runtime/share_elements.hpp"
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

// f may be fast for most arguments (near ones) and slow for some (far ones). Then it has, in addition to f(x…), which
// is right for all: f.near(x…) and f.far(x…); f.any_far(x…); and f.settle(result, x…), which corrects the easy lanes
// and returns a bit for each lane that is left. Those are put aside until they fill some vectors, so that one far
// argument does not slow down its neighbours.
template <class F, class... V>
concept HasFarArguments = requires(F f, V... x) { f.any_far(x...); };

template <class T, int inputs>
struct PutAside {
    static constexpr index capacity = 8 * lanes<T>;
    T x[inputs][capacity + lanes<T>];
    std::int32_t at[capacity + lanes<T>];  // after `start`
    index count = 0, start = 0;

    LOOPNEST_INLINE bool is_full(index j) const { return count > capacity || j - start > 1 << 30; }

    // Without a branch for each lane, which no predictor could foresee.
    template <class... Rows>
    LOOPNEST_INLINE void put(unsigned far, index j, Rows... rows) {
        if (count == 0) start = j;
        typename VectorOf<std::int32_t>::type number;
        for (int lane = 0; lane < lanes<std::int32_t>; ++lane) number[lane] = lane;
        int input = 0;
        (store_chosen(x[input++] + count, load(rows.data + j), far), ...);
        store_chosen(at + count, number + std::int32_t(j - start), far);
        count += __builtin_popcount(far);
    }
};

template <class F, class T, int... input>
[[gnu::noinline]] void finish(PutAside<T, sizeof...(input)>& aside, T* y, std::integer_sequence<int, input...>) {
    for (index i = 0; i < aside.count; i += lanes<T>) {
        const Vec<T> result = F::far(load(aside.x[input] + i)...);
        for (index lane = 0; lane < smaller(lanes<T>, aside.count - i); ++lane)
            y[aside.start + aside.at[i + lane]] = result[lane];
    }
    aside.count = 0;
}

// Stores a vector, past the caches if `streamed`.
template <bool streamed, class T>
LOOPNEST_INLINE void put(T* to, Vec<T> v) { streamed ? stream<T>(to, v) : store<T>(to, v); }

template <bool streamed, class T, class F, class... Rows>
LOOPNEST_INLINE index map_vectors(index j, Vector<T> y, const F& f, Rows... x) {
    const auto prefetch = [=](index j) {
        if constexpr (streamed) (__builtin_prefetch(x.data + j + ahead / index(sizeof(T))), ...);
    };
    if constexpr (HasFarArguments<F, decltype(load(x.data))...>) {
        PutAside<T, sizeof...(Rows)> aside;
        constexpr std::make_integer_sequence<int, sizeof...(Rows)> inputs;
        for (; j + lanes<T> <= y.size; j += lanes<T>) {
            prefetch(j);
            Vec<T> result = f.near(load(x.data + j)...);
            if (f.any_far(load(x.data + j)...)) [[unlikely]] {
                if (aside.is_full(j)) finish<F>(aside, y.data, inputs);
                aside.put(f.settle(result, load(x.data + j)...), j, x...);
            }
            put<streamed, T>(y.data + j, result);
        }
        if (aside.count) finish<F>(aside, y.data, inputs);
    } else {
        for (; j + lanes<T> <= y.size; j += lanes<T>) {
            prefetch(j);
            put<streamed, T>(y.data + j, f(load(x.data + j)...));
        }
    }
    if constexpr (streamed) end_of_stream();
    return j;
}

template <bool streamed = false, class T, class F, class... Rows>
LOOPNEST_INLINE void map_row(Vector<T> y, F f, Rows... x) {
    const auto part = [=](index j, index count) { scatter<T>(f(gather<T>(x, j, count)...), y, j, count); };
    index j = 0;
    if (y.contiguous() && (x.contiguous() && ...)) {
        if constexpr (streamed) {
            j = smaller(until_line(y.data), y.size);
            if (j > 0) part(0, j);
        }
        j = map_vectors<streamed>(j, y, f, x...);
    }
    for (; j < y.size; j += lanes<T>) part(j, smaller(lanes<T>, y.size - j));
}

template <class T>
LOOPNEST_INLINE bool outgrows_caches(Matrix<T> y) { return y.rows * y.cols * index(sizeof(T)) > cache_sizes().l3; }

template <class T, class F, class... Inputs>
void map(bool streamed, Matrix<T> y, F f, Inputs... x) {
    if (streamed)
        for (index i = 0; i < y.rows; ++i) map_row<true>(y.row(i), f, x.row(i)...);
    else
        for (index i = 0; i < y.rows; ++i) map_row(y.row(i), f, x.row(i)...);
}

template <class T, class F, class... Inputs>
LOOPNEST_INLINE void map(Matrix<T> y, F f, Inputs... x) { map(outgrows_caches(y), y, f, x...); }

// The same on all threads.
template <class T, class F, class... Inputs>
LOOPNEST_INLINE void map_shared(index worth_a_thread, Matrix<T> y, F f, Inputs... x) {
    const bool streamed = outgrows_caches(y);
    share_blocks(worth_a_thread, [&](auto y_part, auto... x_part) { map(streamed, y_part, f, x_part...); }, y, x...);
}

}  // namespace loopnest::LOOPNEST_ISA
