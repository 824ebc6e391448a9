#include "machine/caches.hpp"

#include <fstream>
#include <string>

#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace loopnest {
namespace {

#ifdef __APPLE__
index told_by_system(int level) {
    const char* name = level == 1 ? "hw.l1dcachesize" : level == 2 ? "hw.l2cachesize" : "hw.l3cachesize";
    std::int64_t size = 0;
    std::size_t length = sizeof size;
    return sysctlbyname(name, &size, &length, nullptr, 0) == 0 ? index(size) : 0;
}

index ways_told_by_system(int) { return 0; }
#else
// /sys/devices/system/cpu/cpu0/cache/index*/ has one folder a cache, with level, type, size ("32K", "1024K", "8M") …
std::string folder_of(int level) {
    for (int i = 0; i < 8; ++i) {
        const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
        std::string type;
        int its_level = 0;
        std::ifstream(folder + "level") >> its_level;
        std::ifstream(folder + "type") >> type;
        if (its_level == level && type != "Instruction") return folder;
    }
    return "";
}

index told_by_system(int level) {
    index size = 0;
    char unit = ' ';
    std::ifstream(folder_of(level) + "size") >> size >> unit;
    return unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : unit == 'G' ? size << 30 : size;
}

index ways_told_by_system(int level) {
    index ways = 0;
    std::ifstream(folder_of(level) + "ways_of_associativity") >> ways;
    return ways;
}
#endif

CacheSizes read() {
    const index l1d = told_by_system(1), l2 = told_by_system(2), l3 = told_by_system(3);
    const index l1d_ways = ways_told_by_system(1), l2_ways = ways_told_by_system(2);
    return {l1d > 0 ? l1d : 32 << 10, l2 > 0 ? l2 : 512 << 10, l3 > 0 ? l3 : 8 << 20,
            l1d_ways > 3 ? l1d_ways : 8, l2_ways > 3 ? l2_ways : 8};
}

}  // namespace

CacheSizes cache_sizes() {
    static const CacheSizes sizes = read();
    return sizes;
}

}  // namespace loopnest
