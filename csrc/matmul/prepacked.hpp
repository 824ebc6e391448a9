// Weights that are packed once: a product with a b that lies in panels already, as loopnest.prepack makes them.
//
// Packing b takes a few percent of a large product, and most of one with few rows of a: there each element of b takes
// part in few multiply-adds, and copying it costs as much as they do. A network's weights stay the same from call to
// call. So they are copied once, into the layout in which the rung reads them, and calls read the copy straight ahead.
// Numbers of 16 or 8 bits stay as they are, and become units while a tile reads them. The limit of few rows is then the
// bandwidth of the memory that holds b, and of many rows the rung's.
#pragma once

#include "matmul/kernel/by_tiles.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// The columns of a panel.
template <class T>
index panel_width(Vector<const T>) { return tile_cols<T>; }

template <class T>
void prepacked(Matrix<const T> a, Matrix<const T> panels, Matrix<T> c) {
    const Panels<T, tile_cols<T>, 1> b(panels, a.cols, c.cols);
    share_product(a, b, c, [](auto a, auto b, auto c) { multiply_prefetched(a, b, c); }, tile_cols<T>);
}

template <class A, class R>
void units_prepacked(Matrix<const typename A::Element> a, Matrix<const typename A::Element> panels, Matrix<R> c) {
    const Panels<typename A::Element, tile_cols<float>, A::group> b(panels, a.cols, c.cols);
    multiply_units_shared<A>(a, b, c);
}

template <class T, class R>
void upcast_prepacked(Matrix<const T> a, Matrix<const T> panels, Matrix<R> c) {
    units_prepacked<std::conditional_t<sizeof(T) == 1, PairsOfShorts, Floats<T>>>(a, panels, c);
}

template <class T, class R>
    requires std::is_same_v<T, bfloat16>
void dot_pairs_prepacked(Matrix<const T> a, Matrix<const T> panels, Matrix<R> c) {
    units_prepacked<PairsOfBfloat16>(a, panels, c);
}

template <class T, class R>
    requires std::is_same_v<T, std::int8_t>
void dot_quads_prepacked(Matrix<const T> a, Matrix<const T> panels, Matrix<R> c) {
    units_prepacked<QuadsOfBytes>(a, panels, c);
}

template <class T, class R>
    requires has_tiles<T>
void amx_parallel_prepacked(Matrix<const T> a, Matrix<const T> panels, Matrix<R> c) {
    constexpr index edge = 2 * tile_size;
    const Panels<T, edge, TileUnits<T>::group> b(panels, a.cols, c.cols);
    share_product(
        a, b, c, [](auto a, auto b, auto c) { on_tiles<2>(a, b, c, in_blocks(a, c.cols)); },
        larger(tile_cols<float>, edge));
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
