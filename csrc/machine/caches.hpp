// The sizes of this machine's data caches, in bytes, per core or as much as one core may use.
#pragma once

#include "view.hpp"

namespace loopnest {

struct CacheSizes {
    index l1d, l2, l3;
    index l1d_ways, l2_ways;  // associativity: how many lines of memory that share a place in the cache it can hold
};

// Read once from the operating system (Linux: sysfs; macOS: sysctl). A level that it does not tell gets a common size:
// 32 KiB, 512 KiB, 8 MiB; 8 ways.
CacheSizes cache_sizes();

}  // namespace loopnest
