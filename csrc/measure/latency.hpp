// Loops in which each step waits for the one before: the latency of a load, and the time of a cycle.
#pragma once

#include "view.hpp"

namespace loopnest {

// Goes from place to place: next holds at each place the byte offset of the following one, a multiple of 8. If the
// places form one cycle in random order, a step takes the time of a load from the smallest cache that holds them all.
// Returns the last place, where the next call goes on: places near the start may still be cached.
index chase(Vector<const std::int64_t> next, index place, index steps);

// x = (x ^ k) + k: two dependent instructions of one cycle each: `steps` steps take 2 * steps cycles. Returns x.
index two_cycles(index k, index steps);

}  // namespace loopnest
