// The threads that share one call's work: a small pool of our own, which survives fork and needs no OpenMP.
//
// With OpenMP the order in which torch, Numba and this extension are imported would decide whose runtime runs a kernel,
// and a fork after a parallel region would hang.
#pragma once

#include "view.hpp"

namespace loopnest {

index num_threads();             // that one call may use, the caller's among them
void set_num_threads(index count);

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
