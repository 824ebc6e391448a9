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
#else
// /sys/devices/system/cpu/cpu0/cache/index*/ has one folder a cache, with level, type and size ("32K", "1024K", "8M").
index told_by_system(int level) {
    for (int i = 0; i < 8; ++i) {
        const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
        std::string type, size;
        int its_level = 0;
        std::ifstream(folder + "level") >> its_level;
        std::ifstream(folder + "type") >> type;
        std::ifstream(folder + "size") >> size;
        if (its_level != level || type == "Instruction" || size.empty()) continue;
        index bytes = 0;
        for (char c : size)
            if (c >= '0' && c <= '9') bytes = bytes * 10 + (c - '0');
        const char unit = size.back();
        return unit == 'K' ? bytes << 10 : unit == 'M' ? bytes << 20 : unit == 'G' ? bytes << 30 : bytes;
    }
    return 0;
}
#endif

CacheSizes read() {
    const index l1d = told_by_system(1), l2 = told_by_system(2), l3 = told_by_system(3);
    return {l1d > 0 ? l1d : 32 << 10, l2 > 0 ? l2 : 512 << 10, l3 > 0 ? l3 : 8 << 20};
}

}  // namespace

CacheSizes cache_sizes() {
    static const CacheSizes sizes = read();
    return sizes;
}

}  // namespace loopnest
