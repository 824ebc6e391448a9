// The algorithm that suits the shapes, on one thread.
//
//     few rows or columns      few_rows.hpp: the large operand is streamed once
//     k <= 4                   few_products.hpp: c is written row by row
//     b small, or a not high   register_tiled.hpp: nothing is packed, nothing allocated
//     otherwise                prefetched.hpp
#pragma once

#include "matmul/kernel/few_products.hpp"
#include "matmul/kernel/few_rows.hpp"
#include "matmul/prefetched.hpp"
#include "matmul/register_tiled.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// The first two algorithms. False if neither suits; then nothing is done.
template <class T>
bool multiply_skinny(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    return few_rows(a, b, c) || few_columns(a, b, c) || few_products(a, b, c);
}

// With at most this many rows of a, each element of a packed b would serve too few of them.
inline constexpr index too_low_to_pack = vector_registers == 32 ? 32 : tile_rows;

// Whether reading b in place was measured to be faster than packing it: if a is low, or b takes at most a quarter of
// L2. With 16 registers tiles have half as many columns, walk twice as far down b, and the bound is a sixteenth.
template <class T>
bool better_unpacked(Matrix<const T> b, Matrix<T> c) {
    if (!b.contiguous_rows()) return false;
    const index small = cache_sizes().l2 / (vector_registers == 32 ? 4 : 16);
    return c.rows <= too_low_to_pack || b.rows * b.cols * index(sizeof(T)) <= small;
}

// register_tiled leaves c in the cache, where the epilogue then finds it; or there is none, and c is written once.
template <class Epilogue, class T>
bool epilogue_finds_c(Matrix<T> c) {
    if (c.rows * c.cols * index(sizeof(T)) <= cache_sizes().l2 / 4) return true;
    return __is_same(Epilogue, NoEpilogue) && (c.cols <= tile_cols<T> || c.rows <= too_low_to_pack);
}

// c = a b, or c += a b, and then the epilogue for each tile of c, or once for all of it.
template <class T, class Epilogue = NoEpilogue>
void multiply(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue = {}, bool accumulate = false) {
    if (accumulate) return multiply_prefetched(a, b, c, epilogue, true);
    if (multiply_skinny(a, b, c)) return epilogue.apply(0, 0, c);
    if (!better_unpacked(b, c) || !epilogue_finds_c<Epilogue>(c)) return multiply_prefetched(a, b, c, epilogue);
    register_tiled(a, b, c);
    epilogue.apply(0, 0, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
