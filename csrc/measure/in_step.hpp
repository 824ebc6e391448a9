// Timing one piece of work on several threads that begin together.
//
// A rate of several threads is what they do at once. If their clocks began as each is ready, the first would have the
// memory, or the highest clock, to itself for a while; if time ran from the call, that of waking threads would count.
#pragma once

#include "view.hpp"

namespace loopnest {

// Seconds from when work(context, 0) … work(context, threads - 1) begin, each on its thread, until the last has ended. Each
// thread first calls warm_up(context, n), and then waits until all have. On Linux each is bound to one of the processors
// that this thread may use, to the same in every call.
double seconds_in_step(index threads, void (*warm_up)(void* context, index thread),
                       void (*work)(void* context, index thread), void* context);

// Binds the calling thread, if it is to be the n-th, to the processor that seconds_in_step gives that one: memory that it
// touches first then lies near to it. False where the system does not bind threads.
bool bind_as_thread(index n);

}  // namespace loopnest
