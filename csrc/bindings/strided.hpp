// What Python passes to a kernel: a NumPy array, or a torch tensor on the CPU, as an address, a shape and strides.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <utility>

#include "bindings/dlpack.hpp"
#include "view.hpp"

namespace loopnest {

enum class DType { f32, f64, i64, other };
template <class T>
constexpr DType dtype_of = DType::other;
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::i64;

// Valid while the Python object lives: it points into it.
struct Strided {
    void* data = nullptr;
    index axes = 0;
    const index* shape = nullptr;
    const index* strides = nullptr;
    int shift = 0;  // strides are in elements << shift: NumPy counts bytes, torch elements
    DType dtype = DType::other;
    bool writeable = false;

    index stride(index axis) const { return strides[axis] >> shift; }
    index size() const;
    bool in_c_order() const;
    bool has_shape_of(const Strided& other) const;
    // The first element's first byte, and the byte behind the last element; the same byte twice if there are none.
    std::pair<const char*, const char*> extent() const;
};

// Any array or any tensor on the CPU. A tensor is read as it lies: whether it requires grad or is a lazy negation is
// for torch's operators to know, which call from below autograd (python/loopnest/torch/).
bool view_of(PyObject* object, Strided& view);

// The same for inputs that need no further look: no subclass, float32 or float64 in this machine's byte order,
// aligned; and tensors that require no grad and are no lazy negation. False for all others.
bool view_of_plain(PyObject* object, Strided& view);

// NumPy's dtype objects of plain arrays.
PyObject* float_dtype(bool single);

bool is_plain_array(PyObject* object);
bool is_plain_tensor(PyObject* object);

// A tensor over a plain array's memory, which keeps the array alive: what torch.from_numpy gives, in half the time.
pybind11::object tensor_over(const pybind11::object& array);

}  // namespace loopnest
