// Choices between two ways for which no formula was found: measured once on a machine, and kept in the user's cache.
#pragma once

#include <functional>
#include <string>

namespace loopnest {

// The answer that was kept under `name`, or an empty text. It lies in $XDG_CACHE_HOME/loopnest, in ~/.cache/loopnest
// or, on macOS, in ~/Library/Caches/loopnest, in a file for this processor and its caches. A name has no spaces.
std::string kept_choice(const std::string& name);

// Keeps an answer, and says whether that was possible; of an empty one only whether it is.
bool keep_choice(const std::string& name, const std::string& answer);

// Whether `first` is faster than `second`, which compute the same. If no answer is kept, both are timed in turn, in
// some milliseconds, and the answer is kept, so that the next process makes the same choice. If it cannot be kept,
// nothing is timed, and the answer is `guess`.
bool faster(const char* name, bool guess, const std::function<void()>& first, const std::function<void()>& second);

}  // namespace loopnest
