// vpdpbusd: an instruction that adds four products of bytes to each 32-bit integer of a vector (AVX512_VNNI).
//
// It multiplies bytes without sign by bytes with one. Both of ours have one, so packing flips the highest bit of a's
// elements, which adds 128 to each, and the sums begin at -128 times the sum of b's column: the result is exact. A unit
// holds four elements along p, so a step does four times the work of float's, on a quarter of the bytes. AVX2 has an
// instruction for bytes too, vpmaddubsw, but it adds pairs of products in 16 bits and saturates: 255 · 127 · 2 is
// 64770, and 32767 comes out. Here four products are added to 32 bits, which hold them. The limit: a step's 24
// instructions need ten loads, and packing b gathers from four rows.
#pragma once

#include "matmul/kernel/by_units.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
    requires std::is_same_v<T, std::int8_t>
void dot_quads(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    multiply_units_shared<QuadsOfBytes>(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
