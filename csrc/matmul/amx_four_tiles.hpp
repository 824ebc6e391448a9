// AMX with four tiles of c at a time, 32 x 32 sums: each tile of a and b that is loaded is multiplied twice.
//
// Four loads now serve four products, where one tile of c needed eight. The eight tile registers hold four tiles of
// sums, two of a and two of b. What limits it: the packed matrices are as large as a and b, and stream past for each 32
// rows.
#pragma once

#include "matmul/kernel/by_tiles.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires has_tiles<T>
void amx_four_tiles(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    on_tiles<2>(a, b, c, in_one_block(a, c.cols));
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
