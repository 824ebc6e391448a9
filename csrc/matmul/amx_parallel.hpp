// AMX on all threads: each multiplies a part of c as amx_packed does.
//
// Every core has tile registers of its own, which each thread sets up and releases. The limit is what the cores share:
// the L3 cache, memory, and a clock that the tile units lower.
#pragma once

#include "matmul/amx_packed.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires has_tiles<T>
void amx_parallel(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    share_product(a, b, c, [](auto a_part, auto b_part, auto c_part) { amx_packed<T, R>(a_part, b_part, c_part); });
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
