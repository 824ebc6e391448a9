#include "machine/scratch.hpp"

#include <memory>
#include <new>

namespace loopnest {
namespace {

constexpr std::align_val_t alignment{64};

struct Free {
    void operator()(void* memory) const { ::operator delete(memory, alignment); }
};

struct Memory {
    std::unique_ptr<void, Free> data;
    index size = 0;
};

}  // namespace

void* scratch(Slot slot, index bytes) {
    thread_local Memory slots[int(Slot::count)];
    Memory& memory = slots[int(slot)];
    if (memory.size < bytes) {
        memory.data.reset();  // first, so that both are never held at once
        memory.size = 0;
        memory.data.reset(::operator new(std::size_t(bytes), alignment));
        memory.size = bytes;
    }
    return memory.data.get();
}

}  // namespace loopnest
