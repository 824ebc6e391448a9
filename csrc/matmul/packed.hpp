// Packing and a vector micro-kernel: blocks copied into the order in which they are used, a tile of c in registers.
//
// The structure is that of Goto and van de Geijn (Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008), as
// BLIS arranges it in five loops. The innermost computes a tile of c, tile_rows x tile_cols, in vector registers over a
// whole block of k: c is loaded and stored once a block instead of once a product, so the multiply-add units are busy
// in nearly every cycle. A block of a is copied ("packed") into slivers of tile_rows, one of b into slivers of
// tile_cols, so that the micro-kernel reads both straight ahead: no stride, no TLB miss, whatever the layout of a and b.
// Ragged edges are packed with zeros and run through the same micro-kernel. This implementation copies a and b block by
// block, as its method; the copies live in scratch memory of a block's size. What limits it now: one thread, and loads
// that are not yet prefetched.
#pragma once

#include "machine/caches.hpp"
#include "machine/scratch.hpp"
#include "simd/vector.hpp"
#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// The tile's accumulators, with a row of b and one broadcast element of a beside them, must fit the registers:
// 6 x 4 + 4 + 1 = 29 of 32, or 6 x 2 + 2 + 1 = 15 of 16. Two multiply-add units with a latency of 4 cycles need 8 or
// more independent accumulators to stay busy; there are 24, or 12.
inline constexpr int tile_rows = 6;
inline constexpr int tile_vectors = vector_registers == 32 ? 4 : 2;
template <class T>
inline constexpr int tile_cols = tile_vectors * lanes<T>;

struct PackedSizes {
    index rows, inner, cols;
};

// A sliver of b, inner x tile_cols, stays in half of L1 while the micro-kernel passes over it with every sliver of a;
// a's block, rows x inner, in half of L2; b's block, inner x cols, in half of L3.
template <class T>
PackedSizes packed_sizes() {
    const CacheSizes cache = cache_sizes();
    const index size = sizeof(T);
    const index inner = larger(cache.l1d / 2 / (tile_cols<T> * size), 64);
    const index rows = larger(cache.l2 / 2 / (inner * size) / tile_rows, 1) * tile_rows;
    const index cols = larger(smaller(cache.l3 / 2 / (inner * size), 8192) / tile_cols<T>, 1) * tile_cols<T>;
    return {rows, inner, cols};
}

// A block as slivers of `width` rows each, k after k: to[sliver][k][row]. Rows beyond the block are zeros.
template <int width, class T>
void pack(Matrix<const T> block, T* to) {
    for (index i = 0; i < block.rows; i += width, to += width * block.cols) {
        const index height = smaller(width, block.rows - i);
        if (height < width)
            for (index n = 0; n < width * block.cols; ++n) to[n] = 0;
        if (block.col_stride == 1)  // walk along the memory of the source: its rows, or else its columns
            for (index row = 0; row < height; ++row)
                for (index k = 0; k < block.cols; ++k) to[k * width + row] = block(i + row, k);
        else
            for (index k = 0; k < block.cols; ++k)
                for (index row = 0; row < height; ++row) to[k * width + row] = block(i + row, k);
    }
}

// One tile: c (+)= a_sliver * b_sliver over k, the sums in registers throughout.
template <class T>
void micro_kernel(index inner, const T* a, const T* b, T* c, index c_row_stride, bool add_to_c) {
    Vec<T> sum[tile_rows][tile_vectors] = {};
    for (index k = 0; k < inner; ++k, a += tile_rows, b += tile_cols<T>) {
        Vec<T> b_row[tile_vectors];
        for (int v = 0; v < tile_vectors; ++v) b_row[v] = load(b + v * lanes<T>);
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
            for (int v = 0; v < tile_vectors; ++v) sum[i][v] += a[i] * b_row[v];
    }
#pragma GCC unroll 8
    for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < tile_vectors; ++v) {
            T* at = c + i * c_row_stride + v * lanes<T>;
            store<T>(at, add_to_c ? load(at) + sum[i][v] : sum[i][v]);
        }
}

// A tile at the ragged edge: computed whole beside c, and only what exists of it copied.
template <class T>
void edge_tile(index inner, const T* a, const T* b, Matrix<T> c, bool add_to_c) {
    alignas(64) T tile[tile_rows * tile_cols<T>];
    micro_kernel(inner, a, b, tile, tile_cols<T>, false);
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) {
            const T sum = tile[i * tile_cols<T> + j];
            c(i, j) = add_to_c ? c(i, j) + sum : sum;
        }
}

struct Nothing {
    template <class T>
    LOOPNEST_INLINE void operator()(index, index, index, T*) const {}
};

// c = a b for a c with contiguous rows, and then finish(i, j, width, row) for each piece of a row, c(i, j .. j + width),
// as soon as it is complete and still in L1: what is fused into the product's last pass.
template <class T, class Finish = Nothing>
void multiply_packed(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Finish finish = {}) {
    const PackedSizes size = packed_sizes<T>();
    const index inner_total = a.cols;
    const index depth = smaller(size.inner, inner_total);
    const index width = smaller(size.cols, round_up(c.cols, tile_cols<T>));
    const index height = smaller(size.rows, round_up(c.rows, tile_rows));
    T* const a_block = scratch<T>(Slot::pack_a, height * depth);
    T* const b_block = scratch<T>(Slot::pack_b, width * depth);

    for (index j0 = 0; j0 < c.cols; j0 += width)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index k0 = 0; k0 < larger(inner_total, 1); k0 += larger(depth, 1)) {
            const index inner = smaller(depth, inner_total - k0);
            const bool first = k0 == 0, last = k0 + inner >= inner_total;
            const index cols = smaller(width, c.cols - j0);
            pack<tile_cols<T>>(b.block(k0, j0, inner, cols).transposed(), b_block);
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index rows = smaller(height, c.rows - i0);
                pack<tile_rows>(a.block(i0, k0, rows, inner), a_block);
                for (index j = 0; j < cols; j += tile_cols<T>)
                    for (index i = 0; i < rows; i += tile_rows) {
                        const Matrix<T> tile = c.block(i0 + i, j0 + j, smaller(tile_rows, rows - i),
                                                       smaller(tile_cols<T>, cols - j));
                        const T* const a_sliver = a_block + i * inner;
                        const T* const b_sliver = b_block + j * inner;
                        if (tile.rows == tile_rows && tile.cols == tile_cols<T>)
                            micro_kernel(inner, a_sliver, b_sliver, tile.data, tile.row_stride, !first);
                        else
                            edge_tile(inner, a_sliver, b_sliver, tile, !first);
                        if (last)
                            for (index row = 0; row < tile.rows; ++row)
                                finish(i0 + i + row, j0 + j, tile.cols, &tile(row, 0));
                    }
            }
        }
}

template <class T>
void packed(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    multiply_packed(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
