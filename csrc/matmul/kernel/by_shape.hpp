// The way that suits the shape, on one thread.
//
//     few rows or columns      skinny.hpp: the large operand streams past once
//     few products to a sum    skinny.hpp: c is written row by row
//     b small, or a not high   register_tiled.hpp: nothing is packed, nothing allocated
//     otherwise                prefetched.hpp
#pragma once

#include "matmul/prefetched.hpp"
#include "matmul/register_tiled.hpp"
#include "matmul/kernel/skinny.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// Up to this size of b, reading its slivers where they lie was measured to be faster than packing them: a quarter of L2, or
// a sixteenth where tiles have half as many columns, and the slivers' steps are as long for half as much.
LOOPNEST_INLINE index small_enough_to_read_in_place() { return cache_sizes().l2 / (vector_registers == 32 ? 4 : 16); }

// And up to so many rows of a, whatever b's size: each element of a packed b would serve too few of them.
inline constexpr index few_tiles = vector_registers == 32 ? 32 : tile_rows;

// c = a b, or c += a b, and then finish(i, j, tile) for each tile of c, or once for all of it (see multiply_prefetched).
template <class T, class Finish = Nothing>
void multiply(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Finish finish = {}, bool accumulate = false) {
    const index bytes = sizeof(T);
    if (!accumulate && (few_rows(a, b, c) || few_columns(a, b, c) || few_products(a, b, c))) return finish(0, 0, c);
    // Without packing, c is stored a sliver at a time, and finished when all of it is there: so it has to fit too, unless
    // nothing is to be finished, and c is a sliver wide or not high.
    const bool c_fits = c.rows * c.cols * bytes <= cache_sizes().l2 / 4;
    const bool one_by_one = (c.cols <= tile_cols<T> || c.rows <= few_tiles) && __is_same(Finish, Nothing);
    const bool b_small = b.rows * b.cols * bytes <= small_enough_to_read_in_place() || c.rows <= few_tiles;
    if (!accumulate && b.contiguous_rows() && b_small && (c_fits || one_by_one)) {
        register_tiled(a, b, c);
        return finish(0, 0, c);
    }
    multiply_prefetched(a, b, c, finish, accumulate);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
