// All cores: the elements are cut into pieces, and each piece goes through `simd`.
//
// Threads share only what is read (runtime/share_elements.hpp). Below 32,768 elements, 9 µs of one core, a second core
// would come too late. As in `simd`, the size of the whole decides whether results are streamed past the caches. The
// limit is the cores' arithmetic within the caches, and beyond them the memory that they share.
#pragma once

#include "gelu/simd.hpp"

namespace loopnest::LOOPNEST_ISA {

namespace gelu {

template <class T>
void parallel(Matrix<const T> x, Matrix<T> y, bool tanh_form) {
    tanh_form ? map_shared(worth_a_thread_of_exp, y, Gelu<T, true>{}, x)
              : map_shared(worth_a_thread_of_exp, y, Gelu<T, false>{}, x);
}

}  // namespace gelu

namespace gelu_backward {

template <class T>
void parallel(Matrix<const T> x, Matrix<const T> dy, Matrix<T> dx, bool tanh_form) {
    tanh_form ? map_shared(worth_a_thread_of_exp, dx, Backward<T, true>{}, x, dy)
              : map_shared(worth_a_thread_of_exp, dx, Backward<T, false>{}, x, dy);
}

}  // namespace gelu_backward

}  // namespace loopnest::LOOPNEST_ISA
