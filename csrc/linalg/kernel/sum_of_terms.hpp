// A sum of n terms in many accumulators, which the compiler keeps in vector registers.
//
// An addition takes 3 to 4 cycles, and a core can begin two of them a cycle, so some 8 must be under way at once, each
// in its own register. The order of summation is written out, so the compiler may vectorize without reordering
// anything.
#pragma once

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA {

inline constexpr int accumulating_registers = 8;

// term(0) + … + term(n - 1)
template <class T, class Term>
LOOPNEST_INLINE T sum_of_terms(index n, Term term) {
    constexpr index width = accumulating_registers * lanes<T>;
    T sums[width] = {};
    index i = 0;
    for (; i + width <= n; i += width)
        for (index lane = 0; lane < width; ++lane) sums[lane] += term(i + lane);
    T sum = 0;
    for (; i < n; ++i) sum += term(i);
    for (index lane = 0; lane < width; ++lane) sum += sums[lane];
    return sum;
}

// The sum of term(x[i], y[i]…). With strides that are known to be 1 the compiler loads whole vectors.
template <class Term, class T, class... Others>
LOOPNEST_INLINE T sum_over(Term term, Vector<const T> x, Others... y) {
    if (x.contiguous() && (... && y.contiguous()))
        return sum_of_terms<T>(x.size, [=](index i) { return term(x.data[i], y.data[i]...); });
    return sum_of_terms<T>(x.size, [=](index i) { return term(x[i], y[i]...); });
}

}  // namespace loopnest::LOOPNEST_ISA
