#include "measure/cache_simulator.hpp"

#include <bit>
#include <stdexcept>
#include <string>

namespace loopnest {
namespace {

constexpr CacheSimulator::Address empty = ~CacheSimulator::Address(0);

void check(const CacheGeometry& cache, const CacheGeometry& first, std::size_t level) {
    const auto expect = [&](bool right, const std::string& has, const std::string& expected) {
        if (!right)
            throw std::invalid_argument("caches: level " + std::to_string(level + 1) + " has " + has + ", expected " +
                                        expected);
    };
    const std::string lines = "lines of " + std::to_string(cache.line) + " bytes";
    expect(cache.line > 0 && std::has_single_bit(std::size_t(cache.line)), lines, "a power of two");
    expect(cache.line == first.line, lines, "those of level 1, " + std::to_string(first.line));
    expect(cache.ways > 0, std::to_string(cache.ways) + " ways", "1 or more");
    expect(cache.size > 0 && cache.size % (cache.ways * cache.line) == 0, std::to_string(cache.size) + " bytes",
           "a multiple of ways x line = " + std::to_string(cache.ways * cache.line));
}

}  // namespace

CacheSimulator::CacheSimulator(const std::vector<CacheGeometry>& geometry) {
    if (geometry.empty()) throw std::invalid_argument("caches: there is none, expected one or more levels");
    for (std::size_t level = 0; level < geometry.size(); ++level) {
        const CacheGeometry& cache = geometry[level];
        check(cache, geometry.front(), level);
        const index lines = cache.size / cache.line, sets = lines / cache.ways;
        caches_.push_back({std::vector<Address>(std::size_t(lines), empty), cache.ways, sets,
                           std::has_single_bit(std::size_t(sets)) ? Address(sets - 1) : 0});
        // one set has the mask 0 too: line % 1 is 0
    }
    written_back_.assign(geometry.size(), 0);
    line_bits_ = std::countr_zero(std::size_t(geometry.front().line));
}

// A set keeps its entries in the order of use and evicts the last one.
index CacheSimulator::fetch(index level, Address line, bool write) {
    if (level == levels()) return level;
    Cache& cache = caches_[std::size_t(level)];
    Address* const set = cache.set_of(line);
    Address newer = set[0], entry = line << 1;
    if ((newer ^ entry) <= 1) {
        set[0] |= Address(write);
        return level;
    }
    for (index way = 1; way < cache.ways; ++way) {
        const Address older = set[way];
        set[way] = newer;  // one place further back
        if ((older ^ entry) <= 1) {
            set[0] = older | Address(write);
            return level;
        }
        newer = older;
    }
    set[0] = entry | Address(write);
    if (newer != empty && newer & 1) {
        ++written_back_[std::size_t(level)];
        write_back(level + 1, newer >> 1);
    }
    return fetch(level + 1, line, false);
}

// A changed line goes to the first level below that holds it, or to memory. This does not count as a use of the line.
void CacheSimulator::write_back(index level, Address line) {
    for (; level < levels(); ++level) {
        Cache& cache = caches_[std::size_t(level)];
        Address* const set = cache.set_of(line);
        for (index way = 0; way < cache.ways; ++way)
            if ((set[way] ^ line << 1) <= 1) {
                set[way] |= 1;
                return;
            }
        ++written_back_[std::size_t(level)];
    }
}

}  // namespace loopnest
