// The threads that share one call's work: a small pool of our own, which survives fork and needs no OpenMP.
//
// With OpenMP the order in which torch, Numba and this extension are imported would decide whose runtime runs a kernel,
// and a fork after a parallel region would hang.
//
// But if torch's own kernels run before and after ours, two pools fight: an idle OpenMP thread spins for some
// milliseconds, on the core that ours needs. So loopnest.torch lets torch's threads take the pieces (use_openmp), by
// the runtime that torch loaded.
#pragma once

#include "view.hpp"

namespace loopnest {

index num_threads();  // that one call may use, including the caller's
void set_num_threads(index count);

// From now on the threads of a loaded OpenMP runtime with GCC's entry points take the pieces, at most as many threads
// as its omp_get_max_threads() allows the caller. If all are null, our own pool takes them again. In a forked child
// the runtime's threads are gone: our own take the pieces, as many as it allows.
struct OpenMP {
    void (*parallel)(void (*function)(void*), void* context, unsigned threads, unsigned flags) = nullptr;  // GOMP_parallel
    int (*max_threads)() = nullptr;  // omp_get_max_threads
    int (*thread)() = nullptr;       // omp_get_thread_num
};
void use_openmp(OpenMP runtime);

// Runs work(context, 0) … work(context, count - 1), each once, on the caller's thread and the pool's, and returns when
// all are done. Each thread has its part of the pieces, the same in every call, since its core's cache may hold their
// data; then it takes what others have not begun. An exception of a piece is thrown again here, when the others have
// ended. If the pool is busy with another caller's work, the caller does all of its own alone.
void share(index count, void (*work)(void* context, index piece), void* context);

}  // namespace loopnest

namespace loopnest::LOOPNEST_ISA {

// The same for work(0) … work(count - 1). (Compiled for each ISA level; only a pointer reaches the shared code.)
template <class Work>
LOOPNEST_INLINE void share(index count, Work work) {
    loopnest::share(count, [](void* context, index piece) { (*static_cast<Work*>(context))(piece); }, &work);
}

}  // namespace loopnest::LOOPNEST_ISA
