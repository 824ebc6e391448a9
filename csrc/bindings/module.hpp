// The parts of the Python module loopnest._core, each defined by the file of its name.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>

#include "view.hpp"

namespace loopnest {

void define_kernels(pybind11::module_& module);          // kernels, limits, in_step: the kernels of rungs.def
void define_views(pybind11::module_& module);            // strided.cpp: accept_tensors
void define_fast_path(pybind11::module_& module);        // fast_path, set_allocator
void define_cache_simulator(pybind11::module_& module);  // CacheSimulator, with the traced rungs

// --- what the fast path runs

// A matrix, a vector (its only row) or a number of one of the two dtypes; strides in elements.
struct Operand {
    void* data;
    index rows, cols;
    index row_stride, col_stride;

    template <class T>
    operator Matrix<T>() const { return {static_cast<T*>(data), rows, cols, row_stride, col_stride}; }
    template <class T>
    operator Vector<T>() const { return {static_cast<T*>(data), cols, col_stride}; }
    template <class T>
    operator T*() const { return static_cast<T*>(data); }
};

// Runs a kernel on its inputs and then its result, all of float (single) or double.
struct Runner {
    int inputs;
    std::function<void(const Operand* operands, bool single, bool option)> run;
};

// Makes a fast path possible for `kernel`, the object by which Python knows it.
void add_runner(const pybind11::object& kernel, Runner runner);

}  // namespace loopnest
