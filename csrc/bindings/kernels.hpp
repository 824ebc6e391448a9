// loopnest._core.kernels, limits and in_step: the kernels of rungs.def, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace loopnest {

void define_kernels(pybind11::module_& module);

}  // namespace loopnest
