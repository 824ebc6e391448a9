#include "runtime/scratch.hpp"

#include <memory>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace loopnest {
namespace {

constexpr index huge_page = 2 << 20;
constexpr std::align_val_t alignment{64}, huge_alignment{huge_page};

struct Free {
    std::align_val_t aligned = alignment;
    void operator()(void* memory) const { ::operator delete(memory, aligned); }
};

struct Memory {
    std::unique_ptr<void, Free> data;
    index size = 0;
};

// From 1 MiB on, ask Linux for pages of 2 MiB: a block of packed numbers takes more pages of 4 KiB than the first level
// of the TLB has entries (64 to 96).
void allocate(Memory& memory, index size) {
    memory.data.reset();  // first, so that both are never held at once
    memory.size = 0;
    if (size >= huge_page / 2) {
        size = round_up(size, huge_page);
        memory.data = {::operator new(std::size_t(size), huge_alignment), Free{huge_alignment}};
#ifdef MADV_HUGEPAGE
        madvise(memory.data.get(), std::size_t(size), MADV_HUGEPAGE);  // only advice
#endif
    } else {
        memory.data = {::operator new(std::size_t(size), alignment), Free{alignment}};
    }
    memory.size = size;
}

}  // namespace

void* scratch(Slot slot, index bytes) {
    thread_local Memory slots[int(Slot::count)];
    Memory& memory = slots[int(slot)];
    if (memory.size < bytes) allocate(memory, bytes);
    return memory.data.get();
}

}  // namespace loopnest
