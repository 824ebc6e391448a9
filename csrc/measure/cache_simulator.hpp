// A simulator of data caches: for each access, the level in which its line is found.
//
// Each level is set-associative, evicts the least recently used line of a set, fetches lines for stores too
// (write-allocate) and writes changed lines to the level below (write-back). Levels do not watch each other (neither
// inclusive nor exclusive), as in valgrind's cachegrind. Prefetchers change when a line comes, not whether: the
// simulator counts lines, not time.
#pragma once

#include <vector>

#include "view.hpp"

namespace loopnest {

struct CacheGeometry {
    index size, ways, line;  // bytes, lines of a set, bytes
};

class CacheSimulator {
public:
    using Address = std::uint64_t;

    // From the innermost level to the last. Throws std::invalid_argument for a geometry that no cache has.
    explicit CacheSimulator(const std::vector<CacheGeometry>& geometry);

    index levels() const { return index(caches_.size()); }
    int line_bits() const { return line_bits_; }  // a line's size is 1 << line_bits()

    // Reads or writes a line, and returns where it was found: 0 for the first level, …, levels() for memory.
    LOOPNEST_INLINE index touch(Address line, bool write) {
        Address* const set = caches_.front().set_of(line);
        if ((set[0] ^ line << 1) <= 1) {  // most accesses are to the line that was used last
            set[0] |= Address(write);
            return 0;
        }
        return fetch(0, line, write);
    }

    // For each level, how many changed lines it has sent to the one below; the last level sends them to memory.
    const std::vector<index>& written_back() const { return written_back_; }
    void forget_written_back() { written_back_.assign(written_back_.size(), 0); }

private:
    struct Cache {
        std::vector<Address> entries;  // of each set, from the most to the least recently used: line << 1 | changed
        index ways, sets;
        Address mask;  // sets - 1 where that is a power of two, else 0

        LOOPNEST_INLINE Address* set_of(Address line) {
            return entries.data() + index(mask ? line & mask : line % Address(sets)) * ways;
        }
    };

    index fetch(index level, Address line, bool write);
    void write_back(index level, Address line);

    std::vector<Cache> caches_;
    std::vector<index> written_back_;
    int line_bits_ = 0;
};

}  // namespace loopnest
