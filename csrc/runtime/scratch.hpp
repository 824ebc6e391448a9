// Scratch memory for packing and intermediate results. Each thread keeps it and reuses it; it grows on demand.
//
// A fresh allocation of some megabytes costs a system call and a page fault for every 4 KiB, more than packing them.
#pragma once

#include "view.hpp"

namespace loopnest {

// At least `bytes` bytes, 64-byte aligned, in the slot's own memory; valid until this thread asks for the slot again.
enum class Slot { pack_a, pack_b, copied, turned, parts, partial, activations, bias, count };
void* scratch(Slot slot, index bytes);

template <class T>
LOOPNEST_INLINE T* scratch(Slot slot, index count) { return static_cast<T*>(scratch(slot, count * index(sizeof(T)))); }

}  // namespace loopnest
