// A stack of products in one call: c[s] = a[s] b[s] for all s.
//
//     for s in the stack                          shared among the threads
//         c[s] = a[s] b[s]                        by the algorithm for its shape (kernel/by_shape.hpp)
//
// A call from Python takes as long as ten products of 16 x 16 matrices, so the loop is here. Threads take whole
// products, each the same part of the stack in every call, which it may still have in its cache. Only if that leaves
// threads idle is each product cut among them instead. If all products share b and a's matrices lie one behind the
// other, the stack is one product of a tall a: b is then packed once. The limit is the single product's.
#pragma once

#include "matmul/parallel.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
void stack(Stack<const T> a, Stack<const T> b, Stack<T> c) {
    if (b.step == 0 && a.is_tall_matrix() && c.is_tall_matrix())
        return parallel<T>(a.as_tall_matrix(), b[0], c.as_tall_matrix());
    const double operations = 2.0 * double(c.count) * double(c.rows) * double(c.cols) * double(a.cols);
    const index threads = index(smaller(double(num_threads()), operations / worth_a_thread));
    const index most = (c.count + larger(threads, 1) - 1) / larger(threads, 1);  // products of the busiest thread
    if (threads > 1 && most * threads * 8 > c.count * 9) {  // more than an eighth of the time would be waiting
        for (index s = 0; s < c.count; ++s) multiply_shared(a[s], b[s], c[s]);
        return;
    }
    share(larger(threads, 1), [&](index part) {
        for (index s = part * most; s < smaller((part + 1) * most, c.count); ++s) multiply(a[s], b[s], c[s]);
    });
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
