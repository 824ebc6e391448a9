// Which ISA level's kernels run: the best that this CPU and its operating system support, or the one that was forced.
#pragma once

#include <string>
#include <vector>

#include "dispatch/table.hpp"

// The levels of this kind of processor, from the oldest to the newest, and what says whether one runs here.
#if defined(__x86_64__)
#define LOOPNEST_LEVELS LEVEL(v1, always) LEVEL(v3, has_v3) LEVEL(v4, has_v4)
#elif defined(__aarch64__)
#define LOOPNEST_LEVELS LEVEL(neon, always)
#else
#define LOOPNEST_LEVELS LEVEL(native, always)
#endif

namespace loopnest {

struct IsaLevel {
    const char* name;     // "v1", "v3", "v4": x86-64-v1 and so on; "neon" on aarch64; "native" elsewhere
    const Table* kernels;  // compiled with the level's instructions
    const ReducedTable* reduced;
    bool (*supported)();
};

const std::vector<IsaLevel>& isa_levels();  // from the oldest to the newest
const IsaLevel& active_isa();
// The level of this name. Throws std::invalid_argument if there is none or it does not run here.
const IsaLevel& level_called(const std::string& name);
void set_isa(const std::string& name);  // throws the same

// The instructions beyond the levels that this CPU has and some kernels use: "avx512_bf16", "avx512_vnni",
// "avx512_fp16".
std::vector<std::string> further_instructions();

}  // namespace loopnest
