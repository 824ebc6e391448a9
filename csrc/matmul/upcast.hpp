// Reduced precision for storage alone: packing converts the elements, and the processor's wide arithmetic multiplies.
//
// bfloat16 and float16 become float while a and b are packed: a bfloat16 is the upper half of a float, so a shift does
// it, and float16 has an instruction since AVX2 (F16C). Bytes become pairs of 16-bit integers, which every x86-64 can
// multiply and add in one instruction, exactly. The sums have 32 bits, and are rounded once when they are complete.
// Packing reads half or a quarter of float's bytes, and all else is as fast as for float32. The limit is float32's too:
// the multiply-add units work on numbers twice or four times as wide as what was stored.
#pragma once

#include "matmul/kernel/by_units.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, class R>
void upcast(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    using A = std::conditional_t<sizeof(T) == 1, PairsOfShorts, Floats<T>>;
    multiply_units_shared<A>(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
