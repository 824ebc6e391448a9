// The table of kernels, compiled once for each ISA level, with the namespace LOOPNEST_ISA named for it.
//
// A new rung is a header and a line here: RUNG(gelu, simd) is the function template loopnest::…::gelu::simd<T>, for
// float and double. rung_headers.hpp includes every header below csrc/<operation>/; the build writes it.
#include "kernels.hpp"

#include "rung_headers.hpp"

#define RUNG(operation, name) {#name, operation::name<float>, operation::name<double>}

namespace loopnest::LOOPNEST_ISA {
namespace {

constexpr Rung<BinaryFn> matmul_rungs[] = {
    RUNG(matmul, naive),
    RUNG(matmul, jik),
    RUNG(matmul, jki),
    RUNG(matmul, kij),
    RUNG(matmul, kji),
    RUNG(matmul, reordered),
    RUNG(matmul, blocked),
    RUNG(matmul, packed),
};
constexpr Rung<ByBlocksFn> matmul_by_blocks_rungs[] = {
    RUNG(matmul, blocked_with),
};

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {
    .matmul = matmul_rungs,
    .matmul_by_blocks = matmul_by_blocks_rungs,
};

}  // namespace loopnest::LOOPNEST_ISA
