// The scalar rungs: headers of the table in kernels.cpp, compiled once more with the compiler's vectorization off, so
// that a comparison of `scalar` with its vectorized neighbour is one of the instructions alone.
#include "kernels.hpp"

#include "rung_headers.hpp"

namespace loopnest::LOOPNEST_ISA {

extern const Kernels kernels;
const Kernels kernels = {};

}  // namespace loopnest::LOOPNEST_ISA
