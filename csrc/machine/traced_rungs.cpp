// The table of traced rungs, compiled once for each ISA level's vectors, all with the baseline's instructions.
//
// Only rungs of one thread are here: what several threads do to a cache depends on who comes first.
#include "machine/traced_rungs.hpp"

#include "machine/traced.hpp"
// The rungs come after the type, so that its loads and stores are the ones that they find.
#include "linalg/add.hpp"
#include "linalg/add_simd.hpp"
#include "linalg/sum.hpp"
#include "linalg/sum_simd.hpp"
#include "linalg/transpose.hpp"
#include "linalg/transpose_blocked.hpp"
#include "matmul/blocked.hpp"
#include "matmul/loop_orders.hpp"
#include "matmul/naive.hpp"
#include "matmul/packed.hpp"
#include "matmul/prefetched.hpp"
#include "matmul/register_tile.hpp"
#include "matmul/reordered.hpp"

namespace loopnest::LOOPNEST_ISA {
namespace {

using Element = Traced<float>;
static_assert(sizeof(Element) == sizeof(float));

Matrix<Element> traced(const Matrix<float>& x) {
    return {reinterpret_cast<Element*>(x.data), x.rows, x.cols, x.row_stride, x.col_stride};
}

template <void (*kernel)(Matrix<const Element>, Matrix<Element>)>
void run(const Matrix<float>* x, Blocks) {
    kernel(traced(x[0]), traced(x[1]));
}
template <void (*kernel)(Matrix<const Element>, Matrix<const Element>, Matrix<Element>)>
void run(const Matrix<float>* x, Blocks) {
    kernel(traced(x[0]), traced(x[1]), traced(x[2]));
}
template <void (*kernel)(Matrix<const Element>, Matrix<const Element>, Matrix<Element>, index, index, index)>
void run(const Matrix<float>* x, Blocks blocks) {
    kernel(traced(x[0]), traced(x[1]), traced(x[2]), blocks.rows, blocks.inner, blocks.cols);
}
template <void (*kernel)(Matrix<const Element>, Element*)>
void run(const Matrix<float>* x, Blocks) {
    kernel(traced(x[0]), traced(x[1]).data);
}

constexpr auto registers = Tracer::Locals::registers, memory = Tracer::Locals::memory;

constexpr TracedRung rungs[] = {
    {"matmul", "naive", registers, 3, run<matmul::naive<Element>>},
    {"matmul", "jik", registers, 3, run<matmul::jik<Element>>},
    {"matmul", "jki", registers, 3, run<matmul::jki<Element>>},
    {"matmul", "kij", registers, 3, run<matmul::kij<Element>>},
    {"matmul", "kji", registers, 3, run<matmul::kji<Element>>},
    {"matmul", "reordered", registers, 3, run<matmul::reordered<Element>>},
    {"matmul", "blocked", registers, 3, run<matmul::blocked<Element>>},
    {"matmul", "blocked_with", registers, 3, run<matmul::blocked_with<Element>>},
    {"matmul", "register_tile", registers, 3, run<matmul::register_tile<Element>>},
    {"matmul", "packed", registers, 3, run<matmul::packed<Element>>},
    {"matmul", "prefetched", registers, 3, run<matmul::prefetched<Element>>},
    {"transpose", "naive", registers, 2, run<transpose::naive<Element>>},
    {"transpose", "column_wise", registers, 2, run<transpose::column_wise<Element>>},
    {"transpose", "blocked", memory, 2, run<transpose::blocked<Element>>},
    {"sum", "row_wise", registers, 2, run<sum::row_wise<Element>>},
    {"sum", "column_wise", registers, 2, run<sum::column_wise<Element>>},
    {"sum", "simd", registers, 2, run<sum::simd<Element>>},
    {"add", "scalar", registers, 3, run<add::loop<Element>>},
    {"add", "vectorized", registers, 3, run<add::loop<Element>>},
    {"add", "simd", registers, 3, run<add::simd<Element>>},
};

}  // namespace

extern const TracedRungs table;
const TracedRungs table = {rungs, std::size(rungs)};

}  // namespace loopnest::LOOPNEST_ISA
