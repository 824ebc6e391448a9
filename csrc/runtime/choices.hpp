// Choices between two ways without a known formula: they are timed once, and the user's cache keeps the answer.
#pragma once

#include <functional>

namespace loopnest {

// Whether `first` is faster than `second`; both compute the same. The answer is kept under `name` in
// $XDG_CACHE_HOME/loopnest or ~/.cache/loopnest, in a file for this processor and its caches. The first process times
// both in turn, in some milliseconds, and the next ones make the same choice. Without such a folder nothing is timed,
// and the answer is `guess`.
bool faster(const char* name, bool guess, const std::function<void()>& first, const std::function<void()>& second);

}  // namespace loopnest
