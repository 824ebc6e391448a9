// The shortcut of usual calls through the bindings; shortcut.cpp says what it is.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>

#include "view.hpp"

namespace loopnest {

// A matrix of one of the two dtypes; strides in elements.
struct Operand {
    void* data;
    index rows, cols;
    index row_stride, col_stride;

    template <class T>
    operator Matrix<T>() const {
        return {static_cast<T*>(data), rows, cols, row_stride, col_stride};
    }
};

// A kernel as the shortcut runs it: on its inputs and then the result, all of float (single) or double.
struct Runner {
    int inputs;
    std::function<void(const Operand* operands, bool single, bool option)> run;
};

// `kernel` is the object by which Python knows the kernel, and for which it may ask for a shortcut.
void add_runner(const pybind11::object& kernel, Runner runner);
void define_shortcut(pybind11::module_& module);

}  // namespace loopnest
