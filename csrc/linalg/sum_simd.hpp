// The same many sums in explicit vectors, kept across the rows.
//
// 8 accumulators of a register's width stay in registers from the first row to the last and are added up once at the
// end. Short rows gain most: adding up the lanes costs as much as a hundred elements. Beyond L2 the limit is memory.
#pragma once

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA::sum {

template <class T>
void simd(Matrix<const T> a, T* sum) {
    constexpr int accumulators = 8;
    constexpr index step = accumulators * lanes<T>;
    Vec<T> sums[accumulators] = {};
    T total = 0;
    for (index i = 0; i < a.rows; ++i) {
        const Vector<const T> row = a.row(i);
        index j = 0;
        if (row.contiguous()) {
            for (; j + step <= row.size; j += step)
#pragma GCC unroll 8
                for (int n = 0; n < accumulators; ++n) sums[n] += load(row.data + j + n * lanes<T>);
            for (; j + lanes<T> <= row.size; j += lanes<T>) sums[0] += load(row.data + j);
        }
        for (; j < row.size; ++j) total += row[j];
    }
    for (int n = 1; n < accumulators; ++n) sums[0] += sums[n];
    *sum = total + sum_of_lanes<T>(sums[0]);
}

}  // namespace loopnest::LOOPNEST_ISA::sum
