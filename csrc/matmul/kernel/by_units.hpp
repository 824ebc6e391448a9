// c = a b for elements of reduced precision: packed as units, multiplied in tiles, on all threads.
//
// The loops are those of packed.hpp, with units in place of elements. All of a and b is packed, since packing converts.
// A b that was packed before is taken as it is (kernel/panels.hpp). The first whole tile of a panel packs it, between
// its multiply-adds, as in prefetched.hpp. A whole tile whose sums are complete rounds and stores them from its
// registers. Others leave their sums in memory of their own, from where they are added up, rounded and stored. Sums
// that are longer than a block and rounded at the end wait in scratch memory.
#pragma once

#include "matmul/kernel/block_sizes.hpp"
#include "matmul/kernel/pack.hpp"
#include "matmul/kernel/panels.hpp"
#include "matmul/kernel/units.hpp"
#include "matmul/parallel.hpp"
#include "runtime/scratch.hpp"
#include "runtime/threads.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// The unit of b's rows or a's columns p to p + group, which ends with the matrix.
template <class A>
LOOPNEST_INLINE std::uint32_t unit_at(const typename A::Element* from, index stride, index p, index k) {
    return A::one(from, stride, smaller(A::group, k - p));
}

// Rows of a as rows of `steps` units, `width` units apart.
template <class A>
void pack_rows(Matrix<const typename A::Element> a, std::uint32_t* to, index width, index steps) {
    constexpr index whole = lanes<float> * A::group;
    index p = 0;
    if (a.contiguous_rows())
        for (; p + whole <= a.cols; p += whole)
            for (index i = 0; i < a.rows; ++i)
                store<std::uint32_t>(to + i * width + p / A::group, A::along(&a(i, p)) ^ flipped_bits<A>);
    for (; p < steps * A::group; p += A::group)
        for (index i = 0; i < a.rows; ++i)
            to[i * width + p / A::group] = unit_at<A>(&a(i, p), a.col_stride, p, a.cols) ^ flipped_bits<A>;
}

// A micro-panel of b as to[p / group][j]: `steps` rows of `width` units, whole vectors. Beyond b's edges it is zero.
template <class A>
void pack_panel(Matrix<const typename A::Element> b, std::uint32_t* to, index width, index steps) {
    constexpr index L = lanes<float>, whole = L * A::group;
    for (index j = 0; j < width; j += L) {
        index p = 0;
        if (j + L <= b.cols && b.row_stride == 1)  // contiguous columns: squares of units are transposed
            for (; p + whole <= b.rows; p += whole) {
                Vec<float> square[L];
                for (index lane = 0; lane < L; ++lane) square[lane] = float_of(A::along(&b(p, j + lane)));
                transpose_lanes<float>(square);
                for (index q = 0; q < L; ++q)
                    store<std::uint32_t>(to + (p / A::group + q) * width + j, words_of(square[q]));
            }
        else if (j + L <= b.cols && b.contiguous_rows())
            for (; p + A::group <= b.rows; p += A::group)
                store<std::uint32_t>(to + p / A::group * width + j, A::across(&b(p, j), b.row_stride));
        for (index q = p / A::group; q < steps; ++q)
            for (index lane = 0; lane < L; ++lane)
                to[q * width + j + lane] =
                    j + lane < b.cols ? unit_at<A>(&b(q * A::group, j + lane), b.row_stride, q * A::group, b.rows) : 0;
    }
}

// The first value of each column's sums if a's units hold a + 128: -128 times the sum of b's column.
template <class A>
void starts_of(const std::uint32_t* panel, index steps, index width, Sum<typename A::Element>* to) {
    if constexpr (flipped_bits<A> != 0)
        for (index j = 0; j < width; j += lanes<float>) {
            Integers sum = {};
            for (index q = 0; q < steps; ++q)
                sum = A::step(sum, Words{} + A::flipped, load(panel + q * width + j));
            store<std::int32_t>(to + j, -sum);
        }
}

// A vector of units; `from` has their bits, or their elements.
template <class A>
LOOPNEST_INLINE Words units_from(const std::uint32_t* from) { return load(from); }
template <class A>
LOOPNEST_INLINE Words units_from(const typename A::Element* from) { return A::along(from); }

// c = a b for a tile: rows x vectors of sums or, rounded, of results; c_step from one row of them to the next. b's
// rows, of units or of elements, are `b_step` apart. With `packing` b is a matrix, and its units go to `packed`.
template <class A, class B, class C, int rows, int vectors, bool packing = false>
void unit_tile(const std::uint32_t* a, index a_width, const B* b, index b_step, index steps,
               const Sum<typename A::Element>* starts, C* c, index c_step, std::uint32_t* packed = nullptr) {
    constexpr index group = packing || std::is_same_v<B, std::uint32_t> ? 1 : A::group;
    using S = Sum<typename A::Element>;
    Vec<S> sum[rows][vectors] = {};
    if constexpr (flipped_bits<A> != 0)
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[i][v] = load(starts + v * lanes<S>);
#pragma GCC unroll 1
    for (index q = 0; q < steps; ++q, ++a, b += packing ? A::group * b_step : b_step) {
        Words b_row[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v)
            if constexpr (packing) {
                b_row[v] = A::across(b + v * lanes<S>, b_step);
                store<std::uint32_t>(packed + (q * vectors + v) * lanes<S>, b_row[v]);
            } else {
                b_row[v] = units_from<A>(b + v * lanes<S> * group);
            }
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) {
            const Words a_unit = Words{} + a[i * a_width];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[i][v] = A::step(sum[i][v], a_unit, b_row[v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) round_to(c + i * c_step + v * lanes<S>, sum[i][v]);
}

template <class A, class B>
LOOPNEST_INLINE auto unit_tile_of(index rows, index cols) {
    static constexpr auto functions = []<int... n>(std::integer_sequence<int, n...>) {
        struct {
            decltype(&unit_tile<A, B, Sum<typename A::Element>, 1, 1>) of[tile_rows][tile_vectors];
        } made = {{unit_tile<A, B, Sum<typename A::Element>, n / tile_vectors + 1, n % tile_vectors + 1>...}};
        return made;
    }(std::make_integer_sequence<int, tile_rows * tile_vectors>{});
    return functions.of[rows - 1][(cols - 1) / lanes<float>];
}

// A tile's sums, `width` from one row to the next, go to c if they are complete, else to `partial`. Both may be the
// same memory.
template <class S, class R>
void finish_tile(const S* sums, index width, Matrix<S> partial, Matrix<R> c, bool first, bool last) {
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; j += lanes<S>) {
            const index count = smaller(lanes<S>, c.cols - j);
            Vec<S> v = load(sums + i * width + j);
            if (!first) v += load_rest<S>(&partial(i, j), count);
            if (!last) {
                store_rest<S>(&partial(i, j), v, count);
            } else if (count == lanes<S>) {
                round_to(&c(i, j), v);
            } else {
                R rounded[lanes<S>];
                round_to(rounded, v);
                for (index lane = 0; lane < count; ++lane) c(i, j + lane) = rounded[lane];
            }
        }
}

// What `panels` of b hold, as a tile reads it: units, or elements where these are narrower.
template <class A>
using InPanels =
    std::conditional_t<A::group * sizeof(typename A::Element) == 4, std::uint32_t, typename A::Element>;

// B is a matrix, or Panels of it.
template <class A, class B, class R>
void multiply_units(Matrix<const typename A::Element> a, B b, Matrix<R> c) {
    using S = Sum<typename A::Element>;
    constexpr bool prepacked = !std::is_same_v<B, Matrix<const typename A::Element>>;
    const index k = a.cols, steps = (k + A::group - 1) / A::group;
    const auto [height, depth, width] = packed_sizes<float>(c.rows, steps, c.cols);
    const index a_width = round_up(depth, lanes<float>) + 64 / index(sizeof(float));  // not a multiple of 4096 bytes
    auto* const a_block = scratch<std::uint32_t>(Slot::pack_a, height * a_width);
    auto* const b_panel = scratch<std::uint32_t>(Slot::pack_b, prepacked ? 0 : width * (depth + 1));
    auto* const starts = reinterpret_cast<S*>(b_panel + width * depth);
    Matrix<S> partial = {};
    if constexpr (std::is_same_v<S, R>)
        partial = c;
    else if (steps > depth)
        partial = {scratch<S>(Slot::partial, c.rows * width), c.rows, width, width, 1};
    alignas(64) S sums[tile_rows * tile_cols<S>];

    for (index j0 = 0; j0 < c.cols; j0 += width)
        // at least once, so that an empty sum (k = 0) still writes zeros
        for (index q0 = 0; q0 == 0 || q0 < steps; q0 += depth) {
            const index p0 = q0 * A::group, inner = smaller(depth, steps - q0), cols = smaller(width, c.cols - j0);
            const index elements = smaller(inner * A::group, k - p0);
            // Whether a panel is packed by its first tile.
            const auto by_tile = [&](index j) {
                return !prepacked && flipped_bits<A> == 0 && b.contiguous_rows() && elements == inner * A::group &&
                       c.rows >= tile_rows && cols - j >= tile_cols<S>;
            };
            if constexpr (!prepacked)
                for (index j = 0; j < cols; j += tile_cols<S>) {
                    if (by_tile(j)) continue;
                    const index of_panel = smaller(tile_cols<S>, cols - j), padded = packed_width<S>(of_panel);
                    pack_panel<A>(b.block(p0, j0 + j, elements, of_panel), b_panel + j * inner, padded, inner);
                    starts_of<A>(b_panel + j * inner, inner, padded, starts + j);
                }
            for (index i0 = 0; i0 < c.rows; i0 += height) {
                const index rows = smaller(height, c.rows - i0);
                pack_rows<A>(a.block(i0, p0, rows, elements), a_block, a_width, inner);
                for (index j = 0; j < cols; j += tile_cols<S>)
                    for (index i = 0; i < rows; i += tile_rows) {
                        const Matrix<R> tile = c.block(i0 + i, j0 + j, smaller(tile_rows, rows - i),
                                                       smaller(tile_cols<S>, cols - j));
                        const std::uint32_t* const a_tile = a_block + i * a_width;
                        const bool whole = tile.rows == tile_rows && tile.cols == tile_cols<S>;
                        const bool direct = whole && q0 == 0 && inner == steps;
                        // By the function that rounds and stores, or the one for the tile's size.
                        const auto multiply = [&](auto* panel, index step, const S* first) {
                            using B_ = std::remove_const_t<std::remove_pointer_t<decltype(panel)>>;
                            if (direct)
                                unit_tile<A, B_, R, tile_rows, tile_vectors>(a_tile, a_width, panel, step, inner, first,
                                                                             tile.data, tile.row_stride);
                            else
                                unit_tile_of<A, B_>(tile.rows, tile.cols)(a_tile, a_width, panel, step, inner, first,
                                                                         sums, tile_cols<S>, nullptr);
                        };
                        if constexpr (prepacked) {
                            multiply(reinterpret_cast<const InPanels<A>*>(b.row(j0 + j, p0)),
                                     b.template step<InPanels<A>>(), b.template starts<S>(j0 + j, q0 == 0));
                        } else if (i0 + i == 0 && by_tile(j)) {
                            const auto* const from = &b(p0, j0 + j);
                            std::uint32_t* const to = b_panel + j * inner;
                            if (direct)
                                unit_tile<A, typename A::Element, R, tile_rows, tile_vectors, true>(
                                    a_tile, a_width, from, b.row_stride, inner, starts + j, tile.data, tile.row_stride,
                                    to);
                            else
                                unit_tile<A, typename A::Element, S, tile_rows, tile_vectors, true>(
                                    a_tile, a_width, from, b.row_stride, inner, starts + j, sums, tile_cols<S>, to);
                        } else {
                            multiply(static_cast<const std::uint32_t*>(b_panel + j * inner), packed_width<S>(tile.cols),
                                     starts + j);
                        }
                        if (direct) continue;
                        const index column = std::is_same_v<S, R> ? j0 + j : j;
                        finish_tile(sums, tile_cols<S>, partial.block(i0 + i, column, tile.rows, tile.cols), tile,
                                    q0 == 0, q0 + inner >= steps);
                    }
            }
        }
}

// c = a b by `multiply` on all threads: each takes a part of c's columns, whole panels of these, or of its rows where
// there are more of them. B is a matrix, or Panels of it.
template <class T, class B, class R, class Multiply>
void share_product(Matrix<const T> a, B b, Matrix<R> c, Multiply multiply, index panel = tile_cols<float>) {
    const double operations = 2.0 * double(c.rows) * double(c.cols) * double(a.cols);
    const index threads = larger(index(smaller(double(num_threads()), operations / worth_a_thread)), 1);
    const bool by_rows = c.rows > c.cols;
    const index unit = by_rows ? tile_rows : panel, whole = by_rows ? c.rows : c.cols;
    const index size = round_up((whole + threads - 1) / threads, unit);
    share(threads, [&](index piece) {
        const index begin = piece * size, count = smaller(size, whole - begin);
        if (count <= 0) return;
        if (by_rows)
            multiply(a.block(begin, 0, count, a.cols), b, c.block(begin, 0, count, c.cols));
        else
            multiply(a, b.block(0, begin, b.rows, count), c.block(0, begin, c.rows, count));
    });
}

template <class A, class B, class R>
void multiply_units_shared(Matrix<const typename A::Element> a, B b, Matrix<R> c) {
    share_product(a, b, c, multiply_units<A, B, R>);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
