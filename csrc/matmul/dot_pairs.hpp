// vdpbf16ps: an instruction that adds two products of bfloat16 to each float of a vector (AVX512_BF16).
//
// A unit of the packed matrices holds two elements that follow each other along p, so a step of the same 6 x 4 tile
// does twice the work of float's. Packing moves half the bytes: rows of a are units already, and two rows of b are
// interleaved. The products are exact, the sums float. The instruction reads subnormal numbers as zero and makes none.
// What limits it is the processor, and its flag does not say how: on AMD's Zen 4 the instruction is as fast as a
// multiply-add of floats, which is twice the operations; on Intel's cores it takes four times as long, and upcast wins.
#pragma once

#include "matmul/kernel/by_units.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires std::is_same_v<T, bfloat16>
void dot_pairs(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    multiply_units_shared<PairsOfBfloat16>(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
