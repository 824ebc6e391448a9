// AMX on blocks that stay in the caches, as in packed: a's block in L2, b's panel in L3.
//
// The loops are those of packed.hpp around the four tiles of c. The limit is the packing. It weighs more
// than for floats, since the product of 1024 x 1024 bytes takes only some hundred thousand cycles.
#pragma once

#include "matmul/kernel/by_tiles.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires has_tiles<T>
void amx_packed(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    on_tiles<2>(a, b, c, in_blocks(a, c.cols));
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
