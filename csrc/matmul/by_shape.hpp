// The way that suits the shape, on one thread.
//
//     few rows or columns      skinny.hpp: the large operand streams past once
//     b in a quarter of L2     register_tile.hpp: nothing is packed, nothing allocated
//     otherwise                prefetched.hpp
#pragma once

#include "matmul/prefetched.hpp"
#include "matmul/register_tile.hpp"
#include "matmul/skinny.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// c = a b, or c += a b, and then finish(i, j, width, row) for each piece of a row (see multiply_prefetched).
template <class T, class Finish = Nothing>
void multiply(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Finish finish = {}, bool accumulate = false) {
    const index bytes = sizeof(T), l2 = cache_sizes().l2;
    const auto finish_rows = [&] {
        for (index i = 0; i < c.rows; ++i) finish(i, 0, c.cols, &c(i, 0));
    };
    if (!accumulate && (few_rows(a, b, c) || few_columns(a, b, c))) return finish_rows();
    // Without packing, c is stored a sliver at a time, and finished when all of it is there: so it has to fit too.
    if (!accumulate && b.contiguous_rows() && b.rows * b.cols * bytes <= l2 / 4 && c.rows * c.cols * bytes <= l2 / 4) {
        register_tile(a, b, c);
        return finish_rows();
    }
    multiply_prefetched(a, b, c, finish, accumulate);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
