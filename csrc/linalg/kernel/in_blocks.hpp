// Products of reduced precision whose sums get a bias or scales before they are rounded.
//
//     for blocks of c, up to half of L3
//         sums = a's rows times b's columns         32 bits, by a rung of matmul, in scratch memory
//         finish(i, j, sums)                        reads them while they are near, and writes results
//
// So the sums are written and read once more than in the product alone; and a and b are packed once for each block that
// needs them. That costs more than L3 does: blocks of L2's size took 1024 x 1024 bytes a tenth longer (Zen 4).
#pragma once

#include "matmul/kernel/by_units.hpp"

namespace loopnest::LOOPNEST_ISA {

inline constexpr index block_rows = 4096;           // of c: b is packed again for each
inline constexpr index worth_a_finish = 128 * 128;  // elements for a thread

// finish(i, j, sums) gets the sums that begin at row i and column j of c = a b. Several threads call it at once.
template <class T, class Finish>
void multiply_in_blocks(Matrix<const T> a, Matrix<const T> b, ProductFn<T> product, Finish finish) {
    using S = Sum<T>;
    const CacheSizes cache = cache_sizes();
    const index threads = num_threads(), most = larger(cache.l2, cache.l3 / 2) / index(sizeof(S));
    const index height = matmul::even_blocks(a.rows, block_rows, matmul::tile_rows);
    const index width = matmul::even_blocks(b.cols, larger(most / height, 256), matmul::tile_cols<float>);
    S* const memory = scratch<S>(Slot::activations, smaller(height, a.rows) * width);
    for (index j = 0; j < b.cols; j += width)
        for (index i = 0; i < a.rows; i += height) {
            const index rows = smaller(height, a.rows - i), cols = smaller(width, b.cols - j);
            const Matrix<S> sums = {memory, rows, cols, width, 1};
            product(a.block(i, 0, rows, a.cols), b.block(0, j, b.rows, cols), sums);
            const index pieces = larger(smaller(threads, rows * cols / worth_a_finish), 1);
            share(pieces, [&](index piece) {
                const index first = rows * piece / pieces, past = rows * (piece + 1) / pieces;
                finish(i + first, j, sums.block(first, 0, past - first, cols));
            });
        }
}

// Calls work(i, j, v, count) for each vector of sums at row i and column j, with `count` lanes in the block.
template <class S, class Work>
LOOPNEST_INLINE void for_vectors(Matrix<S> sums, Work work) {
    for (index i = 0; i < sums.rows; ++i)
        for (index j = 0; j < sums.cols; j += lanes<S>) {
            const index count = smaller(lanes<S>, sums.cols - j);
            work(i, j, load(&sums(i, j)), count);  // a row of the block ends with a whole vector
        }
}

// v rounded to R, the first `count` lanes of it.
template <class R>
LOOPNEST_INLINE void round_rest(R* to, Vec<float> v, index count) {
    if (count == lanes<float>) return round_to(to, v);
    R rounded[lanes<float>];
    round_to(rounded, v);
    for (index lane = 0; lane < count; ++lane) to[lane] = rounded[lane];
}

// A vector's elements as floats, in scratch memory that ends with a whole vector of them.
template <class T>
Vector<const float> as_floats(Vector<const T> v) {
    float* const to = scratch<float>(Slot::bias, round_up(v.size, lanes<float>));
    for (index i = 0; i < v.size; ++i)
        to[i] = __builtin_bit_cast(float, matmul::Floats<T>::one(&v[i], 0, 0));
    return {to, v.size, 1};
}

}  // namespace loopnest::LOOPNEST_ISA
