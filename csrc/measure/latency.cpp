#include "measure/latency.hpp"

#include <cstring>

namespace loopnest {

index chase(Vector<const std::int64_t> next, index place, index steps) {
    static_assert(sizeof place == sizeof *next.data);
    const char* const base = reinterpret_cast<const char*>(next.data);
#pragma GCC unroll 8
    for (index step = 0; step < steps; ++step) std::memcpy(&place, base + place, sizeof place);
    return place;
}

index two_cycles(index k, index steps) {
    std::size_t x = 0;
    const std::size_t with = std::size_t(k);
#pragma GCC unroll 16
    for (index step = 0; step < steps; ++step) x = (x ^ with) + with;
    return index(x);
}

}  // namespace loopnest
