#include <stdexcept>

#include "measure/traced_rungs.hpp"

// clang-format off
#if defined(__x86_64__)
namespace loopnest::traced_v1 { extern const TracedRungs table; }
namespace loopnest::traced_v3 { extern const TracedRungs table; }
namespace loopnest::traced_v4 { extern const TracedRungs table; }
#elif defined(__aarch64__)
namespace loopnest::traced_neon { extern const TracedRungs table; }
#else
namespace loopnest::traced_native { extern const TracedRungs table; }
#endif
// clang-format on

namespace loopnest {

TracedRungs traced_rungs(const std::string& isa) {
#if defined(__x86_64__)
    if (isa == "v1") return traced_v1::table;
    if (isa == "v3") return traced_v3::table;
    if (isa == "v4") return traced_v4::table;
#elif defined(__aarch64__)
    if (isa == "neon") return traced_neon::table;
#else
    if (isa == "native") return traced_native::table;
#endif
    throw std::invalid_argument("isa: no level is called " + isa);
}

void run_traced(const TracedRung& rung, const Matrix<float>* operands, Blocks blocks, Tracer& its_tracer) {
    its_tracer.keep_locals_in(rung.locals);
    tracer = &its_tracer;
    rung.run(operands, blocks);
    tracer = nullptr;
}

}  // namespace loopnest
