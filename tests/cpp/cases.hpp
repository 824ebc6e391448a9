// Sizes and layouts of the test cases.
#pragma once

#include "judge.hpp"

namespace loopnest::tests {

inline constexpr index sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65};

// The second input's layout, given the first's: over all cases each layout meets several others.
inline Layout next(Layout layout, index step = 1) { return layouts[(int(layout) + step) % std::size(layouts)]; }

template <class T>
Grid<Near<T>> one(Near<T> near) {
    return grid(1, 1, [=](index, index) { return near; });
}

}  // namespace loopnest::tests
