// AMX: one instruction multiplies two tiles of a matrix, 16 rows of 64 bytes each, and adds to a third.
//
// tdpbf16ps does 16 · 16 · 32 multiply-adds of bfloat16 in 16 cycles, tdpbssd twice as many of bytes: 16 and 32 times
// what float32's vectors do. a and b are packed whole, as units of 32 bits in rows of 16. Each tile of c takes the
// tiles of a's rows and b's columns in turn. What limits it: two loads of a kilobyte for each product, which take 8
// cycles each from L1, and longer from L2. A process must ask the system for the tiles; without them the rung is
// emulated, for tests.
#pragma once

#include "matmul/kernel/by_tiles.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires has_tiles<T>
void amx_one_tile(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    on_tiles<1>(a, b, c, in_one_block(a, c.cols));
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
