// Choices between two ways for which no formula was found: measured once on a machine, and kept in the user's cache.
#pragma once

#include <functional>

namespace loopnest {

// Whether `first` is faster than `second`, which compute the same. It is looked up under `name` in
// $XDG_CACHE_HOME/loopnest or ~/.cache/loopnest, in a file for this processor and its caches; if it is not there, both
// are timed in turn, in some milliseconds, and the answer is kept, so that the next process makes the same choice.
// Without such a folder nothing is timed, and the answer is `guess`.
bool faster(const char* name, bool guess, const std::function<void()>& first, const std::function<void()>& second);

}  // namespace loopnest
