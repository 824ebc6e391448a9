#include "dispatch/levels.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// clang-format off
#define LEVEL(level, supported) namespace loopnest::level { extern const Table table; extern const ReducedTable reduced_table; }
// clang-format on
LOOPNEST_LEVELS
#undef LEVEL

namespace loopnest {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
// The instructions of x86-64-v3 that not every compiler's __builtin_cpu_supports knows. Real CPUs have all or none of
// them, but a virtual machine may hide any. A missing lzcnt does not fault: it runs as bsr and gives another result.
bool has_small_instructions_of_v3() {
    unsigned eax, ebx, ecx, edx, ecx_extended;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && __get_cpuid(0x80000001, &eax, &ebx, &ecx_extended, &edx) &&
           (ecx & bit_MOVBE) && (ecx & bit_POPCNT) && (ecx & bit_F16C) && (ecx_extended & bit_LZCNT);
}

// __builtin_cpu_supports asks CPUID for the instructions and XGETBV whether the system saves the registers.
bool has_v3() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && has_small_instructions_of_v3();
}
bool has_v4() {
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

const IsaLevel* best() {
    const IsaLevel* newest = nullptr;
    for (const IsaLevel& level : isa_levels())
        if (level.supported()) newest = &level;
    return newest;
}

std::atomic<const IsaLevel*> active{nullptr};

}  // namespace

const std::vector<IsaLevel>& isa_levels() {
#define LEVEL(level, supported) {#level, &level::table, &level::reduced_table, supported},
    static const std::vector<IsaLevel> levels = {LOOPNEST_LEVELS};
    return levels;
}

const IsaLevel& active_isa() {
    if (const IsaLevel* level = active.load(std::memory_order_relaxed)) return *level;
    if (const char* forced = std::getenv("LOOPNEST_ISA"); forced && *forced) try {
            set_isa(forced);
        } catch (const std::invalid_argument& wrong) {
            throw std::invalid_argument(std::string("the environment variable LOOPNEST_ISA: ") + wrong.what());
        }
    else
        active = best();
    return *active.load();
}

const IsaLevel& level_called(const std::string& name) {
    std::string known;
    for (const IsaLevel& level : isa_levels()) {
        if (name == level.name) {
            if (!level.supported())
                throw std::invalid_argument("isa is '" + name + "', which this CPU or its operating system does not "
                                            "support; the newest that runs here is '" + best()->name + "'");
            return level;
        }
        known += (known.empty() ? "" : ", ") + std::string(level.name);
    }
    throw std::invalid_argument("isa is '" + name + "', expected one of " + known);
}

void set_isa(const std::string& name) { active = &level_called(name); }

std::vector<std::string> further_instructions() {
    std::vector<std::string> found;
#if defined(__x86_64__)
    if (has_v4() && __builtin_cpu_supports("avx512bf16")) found.push_back("avx512_bf16");
    if (has_v4() && __builtin_cpu_supports("avx512vnni")) found.push_back("avx512_vnni");
    unsigned eax, ebx, ecx, edx;  // not every compiler knows the name of float16's
    if (has_v4() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && edx >> 23 & 1) found.push_back("avx512_fp16");
#endif
    return found;
}

}  // namespace loopnest
