#include "measure/tracer.hpp"

#include <stdexcept>

#include "dispatch/levels.hpp"

// clang-format off
#define LEVEL(level, supported) namespace loopnest::traced_##level { extern const TracedRungs table; }
// clang-format on
LOOPNEST_LEVELS
#undef LEVEL

namespace loopnest {

constinit thread_local Tracer* tracer = nullptr;

// Where on the stack a buffer lies differs from run to run. In the simulated memory its first element that is used
// begins a page.
bool Tracer::find_local(std::uintptr_t address) {
    if (locals_ == Locals::registers) return false;
    if (spans_[local_region].begin == 0)
        spans_[local_region] = {address, address, locals_begin - address};
    return true;
}

index Tracer::across(Address first, Address last, bool write, index region, index found) {
    for (Address line = first; line <= last; ++line) {
        const index here = simulator_.touch(line, write);
        ++counts_.found[region][here];
        found = larger(found, here);
    }
    return found;
}

void Tracer::keep(Address at, std::uintptr_t offset, index bytes, bool write, index region, index found) {
    record_->push_back({std::int64_t(at), std::int64_t(offset), std::int32_t(bytes), std::uint8_t(region),
                        std::uint8_t(found), write});
}

TracedRungs traced_rungs(const std::string& isa) {
#define LEVEL(level, supported) \
    if (isa == #level) return traced_##level::table;
    LOOPNEST_LEVELS
    throw std::invalid_argument("isa: no level is called " + isa);
}

void run_traced(const TracedRung& rung, const Matrix<float>* operands, Blocks blocks, Tracer& its_tracer) {
    its_tracer.keep_locals_in(rung.locals);
    tracer = &its_tracer;
    rung.run(operands, blocks);
    tracer = nullptr;
}

}  // namespace loopnest
