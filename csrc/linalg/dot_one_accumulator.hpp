// The definition: one running sum.
//
//     x · y = sum over i of x[i] * y[i]
//
// Each addition needs the result of the one before, and a fused multiply-add takes 4 cycles: one element in 4 cycles,
// however many arithmetic units there are. The limit is that latency. The compiler may not help: floating-point
// addition is not associative, and another order would give another result. Compiling with vectorization off changes
// nothing here.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::dot {

template <class T>
void one_accumulator(Vector<const T> x, Vector<const T> y, T* sum) {
    T total = 0;
    for (index i = 0; i < x.size; ++i) total += x[i] * y[i];
    *sum = total;
}

}  // namespace loopnest::LOOPNEST_ISA::dot
