#include "runtime/amx.hpp"

#include <atomic>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace loopnest {
namespace {

std::atomic<bool> emulated{false};

const char* ask() {
#if defined(__x86_64__) && defined(__linux__)
    constexpr unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & (bf16 | tile | int8)) != (bf16 | tile | int8))
        return "this CPU has no AMX";
    const bool refused = syscall(SYS_arch_prctl, request_permission, tile_data) != 0;
    return refused ? "the system does not let this process use AMX" : nullptr;
#else
    return "AMX is x86-64's, and asked for on Linux";
#endif
}

}  // namespace

const char* why_no_amx() {
    static const char* const reason = ask();
    return emulated ? "emulate_amx asked for it" : reason;
}

void emulate_amx(bool emulate) { emulated = emulate; }

}  // namespace loopnest
