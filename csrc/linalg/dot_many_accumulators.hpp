// Many running sums, added up at the end: the programmer chooses another order, and the compiler vectorizes it.
//
// The sums do not wait for each other, so their latencies overlap, and neighbouring sums share a vector register:
// sum_of_terms (kernel/sum_of_terms.hpp) keeps 8 registers of them. Many short sums also have a smaller rounding error
// than one long sum. The limit moves from latency to loads, two for each multiply-add, and beyond L1 to the cache's
// bandwidth.
#pragma once

#include "linalg/kernel/sum_of_terms.hpp"

namespace loopnest::LOOPNEST_ISA::dot {

template <class T>
void many_accumulators(Vector<const T> x, Vector<const T> y, T* sum) {
    *sum = sum_over([](T x, T y) { return x * y; }, x, y);
}

}  // namespace loopnest::LOOPNEST_ISA::dot
