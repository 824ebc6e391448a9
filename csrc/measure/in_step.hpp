// Timing one piece of work on several threads that begin together: if each began when it is ready, the first would have
// the memory, or the highest clock, to itself for a while.
#pragma once

#include <functional>

#include "view.hpp"

namespace loopnest {

// Seconds from the begin of work(0) … work(threads - 1), each on its own thread, to the end of the last. Each thread
// first calls warm_up(n) and waits for the others. On Linux each is bound to a processor, the same one in every call.
using Part = std::function<void(index n)>;
double seconds_in_step(index threads, const Part& warm_up, const Part& work);

// Binds the calling thread to the processor that seconds_in_step gives the n-th thread: memory that it touches first
// then lies near that processor. False if the system does not bind threads.
bool bind_as_thread(index n);

}  // namespace loopnest
