// The same many sums in explicit vectors: 8 accumulators of a register's width.
//
// Two multiply-add units with a latency of 4 cycles need 2 * 4 = 8 independent accumulators. Nothing is left to the
// compiler, so the number holds with any compiler. Each multiply-add needs two loads, and a core does two loads a
// cycle: from L1 this reaches half of the multiply-add limit, and no more is possible.
#pragma once

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA::dot {

template <class T>
void simd(Vector<const T> x, Vector<const T> y, T* sum) {
    constexpr int accumulators = 8;
    constexpr index step = accumulators * lanes<T>;
    Vec<T> sums[accumulators] = {};
    index i = 0;
    if (x.contiguous() && y.contiguous()) {
        for (; i + step <= x.size; i += step)
#pragma GCC unroll 8
            for (int n = 0; n < accumulators; ++n)
                sums[n] += load(x.data + i + n * lanes<T>) * load(y.data + i + n * lanes<T>);
        for (; i + lanes<T> <= x.size; i += lanes<T>) sums[0] += load(x.data + i) * load(y.data + i);
    }
    for (int n = 1; n < accumulators; ++n) sums[0] += sums[n];
    T total = sum_of_lanes<T>(sums[0]);
    for (; i < x.size; ++i) total += x[i] * y[i];
    *sum = total;
}

}  // namespace loopnest::LOOPNEST_ISA::dot
