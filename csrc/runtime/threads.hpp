// The threads that share one call's work: a small pool of our own, which survives fork and needs no OpenMP.
//
// With OpenMP the order in which torch, Numba and this extension are imported would decide whose runtime runs a kernel,
// and a fork after a parallel region would hang.
//
// But where torch's own kernels run before and after ours, two pools fight: a thread of OpenMP's that has nothing to do
// spins for some milliseconds, on the core that ours needs. So loopnest.torch has the pieces taken by torch's threads
// (use_openmp), by the very runtime that torch has loaded.
#pragma once

#include "view.hpp"

namespace loopnest {

index num_threads();             // that one call may use, the caller's among them
void set_num_threads(index count);

// From now on pieces are taken by the threads of a loaded OpenMP runtime with GCC's entry points, and by no more than its
// omp_get_max_threads() allows the caller. By our own pool again where both are null; and in a forked child, where the
// runtime's threads are gone, by as many of our own as it allows.
struct OpenMP {
    void (*parallel)(void (*function)(void*), void* context, unsigned threads, unsigned flags) = nullptr;  // GOMP_parallel
    int (*max_threads)() = nullptr;  // omp_get_max_threads
};
void use_openmp(OpenMP runtime);

// work(context, 0) … work(context, count - 1), each once, on the caller's thread and the pool's; returns when all are
// done. Pieces are handed out in order to whoever is free. An exception of a piece is thrown again here, when the others
// have ended. Where the pool is busy with another caller's work, the caller does all of its own alone.
void share(index count, void (*work)(void* context, index piece), void* context);

}  // namespace loopnest

namespace loopnest::LOOPNEST_ISA {

// work(0) … work(count - 1) likewise. (Compiled for each ISA level; only a pointer reaches the code that they share.)
template <class Work>
LOOPNEST_INLINE void share(index count, Work work) {
    loopnest::share(count, [](void* context, index piece) { (*static_cast<Work*>(context))(piece); }, &work);
}

}  // namespace loopnest::LOOPNEST_ISA
