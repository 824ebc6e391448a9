// loopnest._core.CacheSimulator: the cache simulator and the traced rungs, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace loopnest {

void define_cache_simulator(pybind11::module_& module);

}  // namespace loopnest
