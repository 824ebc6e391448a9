// The C library's functions by one name for float and double. (The overloads of std::exp are inline functions, which an
// object of one ISA level must not emit; see view.hpp.)
#pragma once

#include <math.h>

#include "view.hpp"

namespace loopnest::LOOPNEST_ISA {

LOOPNEST_INLINE float exp_libm(float x) { return ::expf(x); }
LOOPNEST_INLINE double exp_libm(double x) { return ::exp(x); }
LOOPNEST_INLINE float erfc_libm(float x) { return ::erfcf(x); }
LOOPNEST_INLINE double erfc_libm(double x) { return ::erfc(x); }
LOOPNEST_INLINE float log_libm(float x) { return ::logf(x); }
LOOPNEST_INLINE double log_libm(double x) { return ::log(x); }
LOOPNEST_INLINE float sqrt_libm(float x) { return __builtin_sqrtf(x); }
LOOPNEST_INLINE double sqrt_libm(double x) { return __builtin_sqrt(x); }

}  // namespace loopnest::LOOPNEST_ISA
