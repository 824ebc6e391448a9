// Timing one piece of work on several threads that begin together.
//
// The rate of several threads is what they do at the same time. If each began when it is ready, the first would have
// the memory, or the highest clock, to itself for a while. If time ran from the call, it would include waking the
// threads.
#pragma once

#include <functional>

#include "view.hpp"

namespace loopnest {

// Seconds from the begin of work(0) … work(threads - 1), each on its own thread, to the end of the last. Each thread
// first calls warm_up(n) and waits for the others. On Linux each is bound to one of the processors that this thread may
// use, to the same one in every call.
double seconds_in_step(index threads, const std::function<void(index)>& warm_up, const std::function<void(index)>& work);

// Binds the calling thread to the processor that seconds_in_step gives the n-th thread: memory that it touches first
// then lies near that processor. False if the system does not bind threads.
bool bind_as_thread(index n);

}  // namespace loopnest
