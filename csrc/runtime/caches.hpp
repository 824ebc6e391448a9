// The data caches of this machine, as its operating system reports them.
#pragma once

#include <string>
#include <vector>

#include "view.hpp"

namespace loopnest {

// A cache as one core sees it. Unknown values are 0.
struct Cache {
    index level, size;    // bytes, per core or as much as one core may use
    index ways;           // associativity: how many lines of memory that share a place in the cache it can hold
    index line;           // bytes
    index processors;     // that use this one cache, hyper-threads of one core included
};

// Data and unified caches, the nearest to the core first. Linux: from sysfs, or another folder like it. macOS: from
// sysctl, for the fastest kind of core. Empty if the system reports none.
std::vector<Cache> caches(const std::string& folder = "/sys/devices/system/cpu/cpu0/cache");

struct CacheSizes {
    index l1d, l2, l3;
};

// Read once, from LOOPNEST_CACHES if it is set ("48K:12,2M:16,105M:15"): tests then take the paths of another machine.
// A level that the system does not report gets a common size: 32 KiB, 512 KiB, 8 MiB.
const CacheSizes& cache_sizes();

}  // namespace loopnest
