// The fastest matrix product, with the bias as its epilogue.
//
//     y[i, j] = sum over p of x[i, p] * w[p, j] + b[j]
//
// The tile of y that the micro-kernel has just written is still in L1, so adding b costs no trip to memory; a separate
// pass would read and write all of y again. Like matmul's parallel, it copies blocks of w into scratch memory and
// shares large products among the threads. The limit is the product's.
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
