// The rungs that the cache simulator can run: their own templates, compiled for traced elements.
#pragma once

#include <string>

#include "measure/tracer.hpp"

namespace loopnest {

struct Blocks {
    index rows, inner, cols;
};

struct TracedRung {
    const char *operation, *variant;
    Tracer::Locals locals;
    index operands;
    void (*run)(const Matrix<float>* operands, Blocks blocks);  // `blocks` is only for blocked_with
};

struct TracedRungs {
    const TracedRung* first;
    index count;
};

// With the vectors, tiles and blocks of an ISA level. Throws std::invalid_argument for any other name.
TracedRungs traced_rungs(const std::string& isa);

// Runs a rung on its operands, inputs first, and reports every access to the tracer.
void run_traced(const TracedRung& rung, const Matrix<float>* operands, Blocks blocks, Tracer& tracer);

}  // namespace loopnest
