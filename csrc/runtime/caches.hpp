// The data caches of this machine, as its operating system tells them.
#pragma once

#include <string>
#include <vector>

#include "view.hpp"

namespace loopnest {

// A cache as one core sees it. What is not told is 0.
struct Cache {
    index level, size;    // bytes, per core or as much as one core may use
    index ways;           // associativity: how many lines of memory that share a place in the cache it can hold
    index line;           // bytes
    index processors;     // that use this one cache, hyper-threads of one core included
};

// Data and unified caches from the nearest to the core on. Linux: from sysfs, of which another folder can be given; macOS:
// from sysctl, of the fastest kind of core. Empty where neither tells.
std::vector<Cache> caches(const std::string& folder = "/sys/devices/system/cpu/cpu0/cache");

struct CacheSizes {
    index l1d, l2, l3;
    index l1d_ways, l2_ways;
};

// Read once. A level that the system does not tell gets a common size: 32 KiB, 512 KiB, 8 MiB; 8 ways.
CacheSizes cache_sizes();

}  // namespace loopnest
