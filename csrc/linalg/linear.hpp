// The fastest matrix product, with the bias added to each tile as it is finished.
//
//     y[i, j] = sum over k of x[i, k] * w[k, j] + b[j]
//
// The bias goes into the product's last pass: the tile of y that the micro-kernel has just written is still in L1, so
// adding b costs no trip to memory, where a pass of its own would read and write all of y again. Like matmul's parallel,
// it copies blocks of w into scratch memory, as its method, and shares large products among the threads. The limit is the
// product's.
#pragma once

#include "matmul/parallel.hpp"

namespace loopnest::LOOPNEST_ISA::linear {

template <class T>
struct AddBias {
    Vector<const T> b;

    LOOPNEST_INLINE AddBias of_piece(index, index j0) const { return {b.from(j0)}; }
    LOOPNEST_INLINE void apply(index, index j0, Matrix<T> tile) const {
        for (index i = 0; i < tile.rows; ++i)
            for (index j = 0; j < tile.cols; j += lanes<T>) {
                const index rest = tile.cols - j;
                store_rest<T>(&tile(i, j), load_rest(&tile(i, j), rest) + load_rest(&b[j0 + j], rest, b.stride), rest);
            }
    }
};

template <class T>
void fused(Matrix<const T> x, Matrix<const T> w, Vector<const T> b, Matrix<T> y) {
    matmul::multiply_shared(x, w, y, AddBias<T>{b});
}

}  // namespace loopnest::LOOPNEST_ISA::linear
