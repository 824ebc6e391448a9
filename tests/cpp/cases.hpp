// Sizes and layouts of the test cases.
#pragma once

#include "judge.hpp"

namespace loopnest::tests {

inline constexpr index sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65};

// Counts an operation's cases, and chooses which are tested. KERNELS_TEST_EVERY=5 leaves out four of five, for an emulator,
// which takes ten times as long.
class Chosen {
  public:
    bool operator()() {
        static const char* const wanted = std::getenv("KERNELS_TEST_EVERY");
        static const long every = wanted ? std::atol(wanted) : 1;
        return cases_++ % every == 0;
    }

  private:
    long cases_ = 0;
};

// The second input's layout, given the first's: over all cases each layout meets several others.
inline Layout next(Layout layout, index step = 1) { return layouts[(int(layout) + step) % std::size(layouts)]; }

template <class T>
Grid<Near<T>> one(Near<T> near) {
    return grid(1, 1, [=](index, index) { return near; });
}

}  // namespace loopnest::tests
