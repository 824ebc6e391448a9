// A b that was packed before, by loopnest.prepack: in panels, whose layout each arithmetic has its own numbers for.
//
// A panel is `width` columns, padded with zeros, and all of b's rows. `group` elements of a column that follow each
// other along p lie together: panel[p / group][j][p % group]. The loops read parts of a panel as they cut b into
// blocks, so that its layout depends on no block size. Behind a panel may lie the first value of each column's sums.
#pragma once

#include "matmul/kernel/tile.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T, index width, index group>
struct Panels {
    const T* data;
    index rows, cols;  // of b
    index size;        // elements from one panel to the next

    Panels(Matrix<const T> all, index rows, index cols)
        : data(all.data), rows(rows), cols(cols), size(all.row_stride) {}

    // Whole panels from column j on.
    Panels block(index, index j, index, index count) const {
        Panels part = *this;
        part.data += j / width * size;
        part.cols = count;
        return part;
    }
    static constexpr bool contiguous_rows() { return true; }
    // Row p of column j's panel, which is the panel's first column; p is a multiple of `group`.
    const T* row(index j, index p) const { return data + j / width * size + p * width; }
    // From one row of groups to the next, in elements E.
    template <class E>
    static constexpr index step() { return width * group * index(sizeof(T)) / index(sizeof(E)); }

    template <class S>
    const S* starts(index j, bool first) const {
        static constexpr S none[width] = {};
        return first ? reinterpret_cast<const S*>(data + (j / width + 1) * size) - width : none;
    }
    // Some of a panel's rows as a matrix, if groups are single elements.
    Matrix<const T> matrix(index p, index j, index height, index count) const {
        return {row(j, p), height, count, width, 1};
    }
};

}  // namespace loopnest::LOOPNEST_ISA::matmul
