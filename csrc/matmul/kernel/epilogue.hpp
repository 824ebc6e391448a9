// Epilogues: what is fused into a product's last pass.
//
// An epilogue is a struct like NoEpilogue. The product calls epilogue.apply(i, j, tile) for each tile of c as soon as
// it is complete and still in L1; (i, j) is the tile's first element in c. If the epilogue has a matrix `other` of
// which it touches the same elements, the product prefetches them with c's.
#pragma once

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

struct NoEpilogue {
    // The epilogue of the piece of c that begins at (i, j).
    LOOPNEST_INLINE NoEpilogue of_piece(index, index) const { return {}; }
    template <class T>
    LOOPNEST_INLINE void apply(index, index, Matrix<T>) const {}
};

}  // namespace loopnest::LOOPNEST_ISA::matmul
