// Loops in which each step waits for the one before: what a load takes until its value can be used, and what a cycle takes.
#pragma once

#include "view.hpp"

namespace loopnest {

// Goes from place to place: next holds at each the byte offset of the one after it. Where these form one cycle in random
// order, no prefetcher guesses the next, and the time of a step is that of a load from the smallest cache that holds them
// all. Offsets are multiples of 8 within next. Returns the last place, from which the next call is to go on: to begin again
// would find what was loaded last.
index chase(Vector<const std::int64_t> next, index place, index steps);

// x = (x ^ k) + k, k unknown to the compiler: two dependent instructions of one cycle each, which no processor is known to
// shorten. So `steps` take 2 steps cycles, whatever the clock. Returns x.
index two_cycles(index k, index steps);

}  // namespace loopnest
