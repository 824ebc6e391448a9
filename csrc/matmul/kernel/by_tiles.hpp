// c = a b by tile registers: `side` x `side` tiles of c at a time, on units packed as by_units.hpp does it.
#pragma once

#include "matmul/kernel/by_units.hpp"
#include "runtime/amx.hpp"
#include "simd/tiles.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct QuadsOfSignedBytes : QuadsOfBytes {};  // a's bytes as they are: tdpbssd takes both with a sign
template <class T>
using TileUnits = std::conditional_t<std::is_same_v<T, bfloat16>, PairsOfBfloat16, QuadsOfSignedBytes>;

// A product over `steps` units, a multiple of 16: tiles 0 to 3 hold sums, 4 and 5 rows of a, 6 and 7 columns of b.
template <int side, class Tiles, class S>
LOOPNEST_INLINE void multiply_tiles(Tiles& tiles, const std::uint32_t* a, index a_width, const std::uint32_t* b,
                                    index steps, S* sums) {
    constexpr index width = side * tile_size;
    tiles.template zero<0>();
    if constexpr (side == 2) tiles.template zero<1>(), tiles.template zero<2>(), tiles.template zero<3>();
    for (index q = 0; q < steps; q += tile_size, b += tile_size * width) {
        tiles.template load<4>(a + q, a_width);
        tiles.template load<6>(b, width);
        tiles.template multiply<0, 4, 6>();
        if constexpr (side == 2) {
            tiles.template load<7>(b + tile_size, width);
            tiles.template multiply<1, 4, 7>();
            tiles.template load<5>(a + tile_size * a_width + q, a_width);
            tiles.template multiply<2, 5, 6>();
            tiles.template multiply<3, 5, 7>();
        }
    }
    tiles.template store<0>(sums, width);
    if constexpr (side == 2) {
        tiles.template store<1>(sums + tile_size, width);
        tiles.template store<2>(sums + tile_size * width, width);
        tiles.template store<3>(sums + tile_size * width + tile_size, width);
    }
}

// The loops of packed.hpp, with blocks of these sizes. B is a matrix, or Panels of it.
template <template <class> class Tiles, int side, class T, class B, class R>
void multiply_by_tiles(Matrix<const T> a, B b, Matrix<R> c, PackedSizes sizes) {
    using A = TileUnits<T>;
    constexpr bool prepacked = !std::is_same_v<B, Matrix<const T>>;
    using S = Sum<T>;
    constexpr index edge = side * tile_size;
    const index k = a.cols, steps = round_up((k + A::group - 1) / A::group, tile_size);
    const index height = round_up(sizes.rows, edge), width = round_up(sizes.cols, edge);
    const index depth = round_up(sizes.inner, tile_size), a_width = depth + tile_size;  // see packed_a_step
    auto* const a_block = scratch<std::uint32_t>(Slot::pack_a, height * a_width);
    auto* const b_panel = scratch<std::uint32_t>(Slot::pack_b, prepacked ? 0 : width * depth);
    std::memset(a_block, 0, std::size_t(height * a_width) * sizeof *a_block);  // the rows below a's last
    Matrix<S> partial = {};
    if constexpr (std::is_same_v<S, R>)
        partial = c;
    else if (steps > depth)
        partial = {scratch<S>(Slot::partial, c.rows * width), c.rows, width, width, 1};
    alignas(64) S sums[edge * edge];
    Tiles<T> tiles;

    for (index j0 = 0; j0 < c.cols; j0 += width)
        for (index q0 = 0; q0 == 0 || q0 < steps; q0 += depth) {
            const index p0 = q0 * A::group, inner = smaller(depth, steps - q0), cols = smaller(width, c.cols - j0);
            const index elements = smaller(inner * A::group, k - p0);
            if constexpr (!prepacked)
                for (index j = 0; j < cols; j += edge)
                    pack_panel<A>(b.block(p0, j0 + j, elements, smaller(edge, cols - j)), b_panel + j * inner, edge,
                                  inner);
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index rows = smaller(height, c.rows - i0);
                pack_rows<A>(a.block(i0, p0, rows, elements), a_block, a_width, inner);
                for (index j = 0; j < cols; j += edge)
                    for (index i = 0; i < rows; i += edge) {
                        const Matrix<R> tile =
                            c.block(i0 + i, j0 + j, smaller(edge, rows - i), smaller(edge, cols - j));
                        const index column = std::is_same_v<S, R> ? j0 + j : j;
                        const std::uint32_t* b_tiles = b_panel + j * inner;
                        if constexpr (prepacked) b_tiles = reinterpret_cast<const std::uint32_t*>(b.row(j0 + j, p0));
                        multiply_tiles<side>(tiles, a_block + i * a_width, a_width, b_tiles, inner, sums);
                        finish_tile(sums, edge, partial.block(i0 + i, column, tile.rows, tile.cols), tile, q0 == 0,
                                    q0 + inner >= steps);
                    }
            }
        }
}

// The same on the processor's tiles, or on emulated ones where this process may not use them.
template <int side, class T, class B, class R>
void on_tiles(Matrix<const T> a, B b, Matrix<R> c, PackedSizes sizes) {
#if defined(__AVX512F__)
    if (!why_no_amx()) return multiply_by_tiles<Amx, side>(a, b, c, sizes);
#endif
    multiply_by_tiles<EmulatedAmx, side>(a, b, c, sizes);
}

template <class T>
inline constexpr bool has_tiles = std::is_same_v<T, bfloat16> || std::is_same_v<T, std::int8_t>;

// All of a, b and c as one block, and as blocks that stay in the caches.
template <class T>
PackedSizes in_one_block(Matrix<const T> a, index cols) {
    return {larger(a.rows, 1), larger((a.cols + TileUnits<T>::group - 1) / TileUnits<T>::group, 1), larger(cols, 1)};
}
template <class T>
PackedSizes in_blocks(Matrix<const T> a, index cols) {
    return packed_sizes<float>(a.rows, (a.cols + TileUnits<T>::group - 1) / TileUnits<T>::group, cols);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
