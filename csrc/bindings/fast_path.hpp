// The fast path of ordinary calls; fast_path.cpp explains it.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>

#include "view.hpp"

namespace loopnest {

// A matrix, a vector (its only row) or a number of one of the two dtypes; strides in elements.
struct Operand {
    void* data;
    index rows, cols;
    index row_stride, col_stride;

    template <class T>
    operator Matrix<T>() const {
        return {static_cast<T*>(data), rows, cols, row_stride, col_stride};
    }
    template <class T>
    operator Vector<T>() const {
        return {static_cast<T*>(data), cols, col_stride};
    }
    template <class T>
    operator T*() const {
        return static_cast<T*>(data);
    }
};

// Runs a kernel on its inputs and then its result, all of float (single) or double.
struct Runner {
    int inputs;
    std::function<void(const Operand* operands, bool single, bool option)> run;
};

// Makes a fast path possible for `kernel`, the object by which Python knows it.
void add_runner(const pybind11::object& kernel, Runner runner);

}  // namespace loopnest
