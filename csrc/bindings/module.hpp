// The parts of the Python module loopnest._core, each defined by the file of its name.
#pragma once

#include <pybind11/pybind11.h>

namespace loopnest {

void define_kernels(pybind11::module_& module);          // kernels, limits, in_step: the kernels of rungs.def
void define_views(pybind11::module_& module);            // strided.cpp: accept_tensors
void define_fast_path(pybind11::module_& module);        // fast_path, set_allocator
void define_cache_simulator(pybind11::module_& module);  // CacheSimulator, with the traced rungs

}  // namespace loopnest
