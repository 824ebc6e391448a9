// The table of kernels: what each line of rungs.def is at one ISA level.
#pragma once

#include <span>
#include <stdexcept>

#include "dispatch/signatures.hpp"
#include "reduced.hpp"

namespace loopnest {

template <template <class> class Fn>
struct Kernel {
    Fn<float> f32;
    Fn<double> f64;
};

// Its address stands for a signature.
template <template <class> class Fn>
inline constexpr char signature_id = 0;

struct Rung {
    const char *operation, *variant;
    const char* signature;  // &signature_id<Fn>
    const void* kernel;     // a Kernel<Fn>

    template <template <class> class Fn>
    const Kernel<Fn>& as() const {
        if (signature != &signature_id<Fn>) throw std::logic_error(std::string(operation) + " has another signature");
        return *static_cast<const Kernel<Fn>*>(kernel);
    }
};

template <template <class, class> class Fn>
inline constexpr char reduced_signature_id = 0;

// A line REDUCED.
struct ReducedRung {
    const char *operation, *variant;
    const char* signature;  // &reduced_signature_id<Fn>
    const void* kernel;     // a ReducedKernel<Fn>

    template <template <class, class> class Fn>
    const ReducedKernel<Fn>& as() const {
        if (signature != &reduced_signature_id<Fn>)
            throw std::logic_error(std::string(operation) + " has another signature");
        return *static_cast<const ReducedKernel<Fn>*>(kernel);
    }
};

// In the order of rungs.def, the same for all levels.
using Table = std::span<const Rung>;
using ReducedTable = std::span<const ReducedRung>;

}  // namespace loopnest
