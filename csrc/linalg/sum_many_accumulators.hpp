// Many running sums a row: an order that the compiler can vectorize.
//
// As in dot, additions that do not wait for each other overlap, and neighbours share a vector register
// (kernel/sum_of_terms.hpp). A sum loads one element an operation. From L1 the limit is the loads or the additions, two
// vectors a cycle each; beyond L2 it is the memory's bandwidth.
#pragma once

#include "linalg/kernel/sum_of_terms.hpp"

namespace loopnest::LOOPNEST_ISA::sum {

template <class T>
void many_accumulators(Matrix<const T> a, T* sum) {
    T total = 0;
    for (index i = 0; i < a.rows; ++i) total += sum_over([](T x) { return x; }, a.row(i));
    *sum = total;
}

}  // namespace loopnest::LOOPNEST_ISA::sum
