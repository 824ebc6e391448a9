// Addresses of a running kernel, fed to the cache simulator as they come.
//
// The kernel works on real memory. The caches see a simulated memory, in which each operand begins at a page (as a
// large allocation does), one after another. So the same call gives the same misses, wherever its arrays happen to lie.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "measure/cache_simulator.hpp"
#include "runtime/scratch.hpp"

namespace loopnest {

using Address = CacheSimulator::Address;

// Regions that are counted separately: the operands, in the order of the kernel's parameters, and a kernel's own
// memory.
inline constexpr index most_operands = 4;
inline constexpr index packed_a_region = most_operands, packed_b_region = packed_a_region + 1,
                       local_region = packed_b_region + 1, regions = local_region + 1;
inline constexpr index most_levels = 4;

struct Counts {
    index found[regions][most_levels + 1];  // lines, by the level that held them
    index asked[regions];                   // bytes that were read or written
};

struct Access {
    std::int64_t address;  // in the simulated memory
    std::int64_t offset;   // bytes from the region's begin
    std::int32_t bytes;
    std::uint8_t region, found;  // found: as CacheSimulator::touch
    bool write;
};

// Where the other regions lie in the simulated memory: far enough apart for any size.
inline constexpr Address page = 4096, scratch_begins = Address(1) << 40, scratch_apart = Address(1) << 34,
                         locals_begin = Address(1) << 42;

class Tracer {
public:
    // In compiled code a kernel's local variables are registers, except for a buffer, which is memory.
    enum class Locals { registers, memory };

    Tracer(CacheSimulator& simulator, std::vector<Access>* record) : simulator_(simulator), record_(record) {}

    void add_operand(const void* begin, const void* end) {
        const index size = static_cast<const char*>(end) - static_cast<const char*>(begin);
        spans_[operands_++] = {std::uintptr_t(begin), std::uintptr_t(end), next_ - std::uintptr_t(begin)};
        next_ += (Address(size) + page - 1) / page * page;
    }
    void add_scratch(Slot slot, const void* begin, index bytes) {
        const index number = slot == Slot::pack_a ? 0 : 1;
        const Address at = scratch_begins + Address(number) * scratch_apart;
        spans_[packed_a_region + number] = {std::uintptr_t(begin), std::uintptr_t(begin) + std::uintptr_t(bytes),
                                            at - std::uintptr_t(begin)};
    }
    void keep_locals_in(Locals locals) { locals_ = locals; }

    LOOPNEST_INLINE void access(const void* at, index bytes, bool write) {
        const auto address = std::uintptr_t(at);
        index region = 0;
        while (region < packed_b_region + 1 && address - spans_[region].begin >= spans_[region].size()) ++region;
        if (region == local_region && !find_local(address)) return;
        const Address from = address + spans_[region].offset;
        const Address first = from >> simulator_.line_bits();
        index found = simulator_.touch(first, write);
        ++counts_.found[region][found];
        counts_.asked[region] += bytes;
        const Address last = (from + Address(bytes) - 1) >> simulator_.line_bits();
        if (first != last) found = across(first + 1, last, write, region, found);
        if (record_) keep(from, address - spans_[region].begin, bytes, write, region, found);
    }

    const Counts& counts() const { return counts_; }

private:
    struct Span {
        std::uintptr_t begin = 0, end = 0;
        Address offset = 0;  // from the kernel's address to the simulated one
        std::uintptr_t size() const { return end - begin; }
    };

    bool find_local(std::uintptr_t address);
    index across(Address first, Address last, bool write, index region, index found);
    void keep(Address at, std::uintptr_t offset, index bytes, bool write, index region, index found);

    CacheSimulator& simulator_;
    std::vector<Access>* const record_;
    Span spans_[regions];
    Counts counts_ = {};
    index operands_ = 0;
    Address next_ = page;
    Locals locals_ = Locals::registers;
};

// The tracer of the kernel that this thread runs.
extern constinit thread_local Tracer* tracer;

// --- the rungs that the cache simulator can run: their own templates, compiled for traced elements

struct Blocks {
    index rows, inner, cols;
};

struct TracedRung {
    const char *operation, *variant;
    Tracer::Locals locals;
    index operands;
    void (*run)(const Matrix<float>* operands, Blocks blocks);  // `blocks` is only for blocked_with
};

using TracedRungs = std::span<const TracedRung>;

// With the vectors, tiles and blocks of an ISA level. Throws std::invalid_argument for any other name.
TracedRungs traced_rungs(const std::string& isa);

// Runs a rung on its operands, inputs first, and reports every access to the tracer.
void run_traced(const TracedRung& rung, const Matrix<float>* operands, Blocks blocks, Tracer& tracer);

}  // namespace loopnest
