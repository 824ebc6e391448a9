// The machine's limits, as loops that do one thing: multiply and add in registers, read, copy, or copy and add.
//
// The caller keeps the clock, so that a limit is timed in turn with kernels. One call goes through an array `passes`
// times: a pass through L1 takes less time than a call from Python.
#pragma once

#include "simd/native.hpp"
#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace peak {

#if defined(__FMA__) || defined(__aarch64__)
inline constexpr bool fused = true;
#else
inline constexpr bool fused = false;
#endif

// Chains of operations that do not wait for each other. Two FMA units with 4 cycles of latency need 8; without FMA,
// products and sums need 8 each. Two registers hold the shared operands, which leaves 14 of 16.
inline constexpr int chains = vector_registers == 32 ? 24 : 14;

// chain = chain * x + y in every lane of every chain, `rounds` times; without FMA every second chain is multiplied and
// the others are added to. x and y are values[0] and values[1] (1 and 0.001 keep all numbers normal); values[2]
// receives the result, so that the loop cannot be dropped. Returns the flops: a multiply-add is two.
template <class T>
index multiply_add(Vector<T> values, index rounds) {
    const Vec<T> x = broadcast(values[0]), y = broadcast(values[1]);
    Vec<T> chain[chains];
    for (int n = 0; n < chains; ++n) chain[n] = y * T(n);
    for (index round = 0; round < rounds; ++round)
#pragma GCC unroll 24
        for (int n = 0; n < chains; ++n) {
            if (fused)
                chain[n] = chain[n] * x + y;
            else
                chain[n] = n % 2 ? chain[n] + y : chain[n] * x;
        }
    for (int n = 1; n < chains; ++n) chain[0] += chain[n];
    values[2] = sum_of_lanes<T>(chain[0]);
    return (fused ? 2 : 1) * index(chains) * lanes<T> * rounds;
}

// The same in one chain: the latency of a multiply-add or, without FMA, of a product and a sum.
template <class T>
index multiply_add_chain(Vector<T> values, index rounds) {
    const Vec<T> x = broadcast(values[0]), y = broadcast(values[1]);
    Vec<T> chain = {};
    for (index round = 0; round < rounds; ++round) chain = chain * x + y;
    values[2] = sum_of_lanes<T>(chain);
    return 2 * index(lanes<T>) * rounds;
}

}  // namespace peak

namespace read {

// Streams that are read together. A core's prefetcher follows each of them, and one stream keeps too few lines under
// way to fill the bus.
inline constexpr int streams = 4;

// The sum of x, contiguous, read `passes` times in vectors, as fast as memory delivers it: `passes` times the sum of x.
template <class T>
T read(Vector<const T> x, index passes) {
    constexpr index vectors = 4;  // of a stream at a time, each a chain of additions
    constexpr index step = vectors * lanes<T>;
    const index length = x.size / streams / step * step;
    Vec<T> sums[streams][vectors] = {};
    T total = 0;
    for (index pass = 0; pass < passes; ++pass) {
        for (index i = 0; i < length; i += step)
#pragma GCC unroll 4
            for (int s = 0; s < streams; ++s)
#pragma GCC unroll 4
                for (index n = 0; n < vectors; ++n) sums[s][n] += load(x.data + s * length + i + n * lanes<T>);
        for (index i = streams * length; i < x.size; ++i) total += x.data[i];
    }
    for (auto& stream : sums)
        for (Vec<T>& sum : stream) total += sum_of_lanes<T>(sum);
    return total;
}

}  // namespace read

// y = f(x…), all contiguous, with ordinary stores or past the caches. An ordinary store to a line that is not in the
// cache reads the line first; a store past the caches reads no line only to overwrite it.
template <bool past_caches, class T, class F, class... Inputs>
LOOPNEST_INLINE void fill(Vector<T> y, index passes, F f, Inputs... x) {
    for (index pass = 0; pass < passes; ++pass) {
        const index head = past_caches ? smaller(until_line(y.data), y.size) : 0;
        index i = 0;
        for (; i < head; ++i) y.data[i] = f(x.data[i]...);
#pragma GCC unroll 4
        for (; i + lanes<T> <= y.size; i += lanes<T>) {
            const Vec<T> result = f(load(x.data + i)...);
            past_caches ? stream<T>(y.data + i, result) : store<T>(y.data + i, result);
        }
        for (; i < y.size; ++i) y.data[i] = f(x.data[i]...);
        if (past_caches) end_of_stream();
    }
}

namespace copy {

inline constexpr auto same = [](auto x) { return x; };

template <class T>
void copy(Vector<const T> x, Vector<T> y, index passes) { fill<false>(y, passes, same, x); }

template <class T>
void copy_past_caches(Vector<const T> x, Vector<T> y, index passes) { fill<true>(y, passes, same, x); }

}  // namespace copy

// STREAM's triad (McCalpin, Memory bandwidth and machine balance, 1995): z = x + 3 y, two arrays read and one written.
namespace triad {

template <class T>
inline constexpr auto x_and_three_y = [](auto x, auto y) { return x + T(3) * y; };

template <class T>
void triad(Vector<const T> x, Vector<const T> y, Vector<T> z, index passes) {
    fill<false>(z, passes, x_and_three_y<T>, x, y);
}

template <class T>
void triad_past_caches(Vector<const T> x, Vector<const T> y, Vector<T> z, index passes) {
    fill<true>(z, passes, x_and_three_y<T>, x, y);
}

}  // namespace triad

}  // namespace loopnest::LOOPNEST_ISA
