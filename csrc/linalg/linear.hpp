// The fastest matrix product, with the bias added to each piece of a row as it is finished.
//
//     y[i, j] = sum over k of x[i, k] * w[k, j] + b[j]
//
// The bias goes into the product's last pass: the piece of y that the micro-kernel has just written is still in L1, so
// adding b costs no trip to memory, where a pass of its own would read and write all of y again. Like matmul's parallel,
// it copies blocks of w into scratch memory, as its method, and shares large products among the threads. The limit is the
// product's.
#pragma once

#include "matmul/parallel.hpp"

namespace loopnest::LOOPNEST_ISA::linear {

template <class T>
void fused(Matrix<const T> x, Matrix<const T> w, Vector<const T> b, Matrix<T> y) {
    matmul::multiply_shared(x, w, y, [=](index, index j0, index width, T* row) {
        for (index j = 0; j < width; ++j) row[j] += b[j0 + j];
    });
}

}  // namespace loopnest::LOOPNEST_ISA::linear
