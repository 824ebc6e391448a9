#include "runtime/caches.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace loopnest {
namespace {

constexpr index SMALLEST = 4096, LARGEST = index(1) << 32;  // of caches that LOOPNEST_CACHES describes

#ifdef __APPLE__
index reported(const char* name) {
    std::int64_t value = 0;
    std::size_t length = sizeof value;
    return sysctlbyname(name, &value, &length, nullptr, 0) == 0 ? index(value) : 0;
}

// hw.perflevel0 are the fastest cores, where there are several kinds; Macs of one kind have the names without it.
index reported(const std::string& of_fastest, const std::string& of_all) {
    const index value = reported(of_fastest.c_str());
    return value > 0 ? value : reported(of_all.c_str());
}
#else
index number_in(const std::string& file) {
    index number = 0;
    std::ifstream(file) >> number;
    return number;
}

index size_in(const std::string& file) {  // "32K", "1024K", "8M"
    index size = 0;
    char unit = ' ';
    std::ifstream(file) >> size >> unit;
    return unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : unit == 'G' ? size << 30 : size;
}

index processors_in(const std::string& file) {  // "0-3,8-11"
    std::ifstream list(file);
    index count = 0, first = 0, last = 0;
    for (char mark = ','; mark == ',' && list >> first; count += last - first + 1) {
        last = first;
        mark = ' ';
        if (list >> mark && mark == '-') list >> last >> mark;
    }
    return count;
}
#endif

// As in "48K:12,2M:16,105M:15": the size and the ways of L1, L2 and L3.
std::vector<Cache> caches_of(const std::string& text) {
    std::vector<Cache> found;
    std::istringstream levels(text);
    for (std::string level; std::getline(levels, level, ',');) {
        char* rest = nullptr;
        const index number = std::strtol(level.c_str(), &rest, 10);
        const int shift = *rest == 'K' ? 10 : *rest == 'M' ? 20 : 0;
        rest += shift > 0;
        const index ways = *rest == ':' ? std::strtol(rest + 1, &rest, 10) : 0;
        const index size = number < 1 || number > LARGEST ? 0 : number << shift;
        if (*rest != 0 || size < SMALLEST || size > LARGEST || ways < 0)
            throw std::invalid_argument("the environment variable LOOPNEST_CACHES is '" + text +
                                        "', expected sizes and ways, as in 48K:12,2M:16,105M:15");
        found.push_back({index(found.size()) + 1, size, ways, 64, 1});
    }
    return found;
}

}  // namespace

#ifdef __APPLE__
std::vector<Cache> caches(const std::string&) {
    const index line = reported("hw.cachelinesize");
    std::vector<Cache> found = {
        {1, reported("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"), 0, line, 1},
        {2, reported("hw.perflevel0.l2cachesize", "hw.l2cachesize"), 0, line, reported("hw.perflevel0.cpusperl2")},
        {3, reported("hw.perflevel0.l3cachesize", "hw.l3cachesize"), 0, line, reported("hw.perflevel0.cpusperl3")},
    };
    std::erase_if(found, [](const Cache& cache) { return cache.size == 0; });
    return found;
}
#else
// One folder a cache, index0, index1, …, with level, type, size, ways_of_associativity …
std::vector<Cache> caches(const std::string& folder) {
    std::vector<Cache> found;
    for (int i = 0; i < 8; ++i) {
        const std::string its = folder + "/index" + std::to_string(i) + "/";
        std::string type;
        std::ifstream(its + "type") >> type;
        const Cache cache = {number_in(its + "level"), size_in(its + "size"), number_in(its + "ways_of_associativity"),
                             number_in(its + "coherency_line_size"), processors_in(its + "shared_cpu_list")};
        if (type != "Instruction" && cache.level > 0 && cache.size > 0) found.push_back(cache);
    }
    std::sort(found.begin(), found.end(), [](const Cache& a, const Cache& b) { return a.level < b.level; });
    return found;
}
#endif

const CacheSizes& cache_sizes() {
    static const CacheSizes sizes = [] {
        CacheSizes read = {32 << 10, 512 << 10, 8 << 20};
        const char* const given = std::getenv("LOOPNEST_CACHES");
        for (const Cache& cache : given ? caches_of(given) : caches()) {
            const bool first = cache.level == 1, second = cache.level == 2;
            if (cache.level <= 3) (first ? read.l1d : second ? read.l2 : read.l3) = cache.size;
        }
        return read;
    }();
    return sizes;
}

}  // namespace loopnest
