// The threads that share one call's work: a small pool of our own, which survives fork and needs no OpenMP.
//
// With OpenMP the order of imports would decide whose runtime runs a kernel, and a fork after a parallel region would
// hang. But next to torch's own kernels two pools fight: an idle OpenMP thread spins for some milliseconds on the core
// that ours needs. So loopnest.torch lets torch's threads take the pieces (use_openmp).
#pragma once

#include "view.hpp"

namespace loopnest {

index num_threads();  // that one call may use, including the caller's
void set_num_threads(index count);

// From now on the threads of a loaded OpenMP runtime take the pieces, at most as many as it allows the caller; if all
// are null, our own pool does. In a forked child the runtime's threads are gone: our own take the pieces.
struct OpenMP {
    void (*parallel)(void (*function)(void*), void*, unsigned threads, unsigned flags) = nullptr;  // GOMP_parallel
    int (*max_threads)() = nullptr;  // omp_get_max_threads
    int (*thread)() = nullptr;       // omp_get_thread_num
};
void use_openmp(OpenMP runtime);

// Runs work(context, 0) … work(context, count - 1), each once, and returns when all are done. Each thread has its part
// of the pieces, the same in every call, since its core's cache may hold their data; then it takes what others have not
// begun. A piece's exception is thrown again here. If the pool is busy, the caller works alone. A pool that gets fewer
// threads than set works with these, until the next set_num_threads.
void share(index count, void (*work)(void* context, index piece), void* context);

}  // namespace loopnest

namespace loopnest::LOOPNEST_ISA {

// The same for work(0) … work(count - 1). (Compiled for each ISA level; only a pointer reaches the shared code.)
template <class Work>
LOOPNEST_INLINE void share(index count, Work work) {
    loopnest::share(count, [](void* context, index piece) { (*static_cast<Work*>(context))(piece); }, &work);
}

}  // namespace loopnest::LOOPNEST_ISA
