// What Python passes to a kernel: a NumPy array, or a torch tensor on the CPU, as an address, a shape and strides.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "bindings/dlpack.hpp"
#include "reduced.hpp"

namespace loopnest {

enum class DType { f32, f64, i64, f16, bf16, i8, i32, other };  // bf16: the bits, as NumPy's uint16
template <class T>
constexpr DType dtype_of = std::is_same_v<T, float>          ? DType::f32
                           : std::is_same_v<T, double>       ? DType::f64
                           : std::is_same_v<T, std::int64_t> ? DType::i64
                           : std::is_same_v<T, float16>      ? DType::f16
                           : std::is_same_v<T, bfloat16>     ? DType::bf16
                           : std::is_same_v<T, std::int8_t>  ? DType::i8
                           : std::is_same_v<T, std::int32_t> ? DType::i32
                                                             : DType::other;

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

// Any array or any tensor on the CPU. A tensor is read as it lies, even if it requires grad: torch's operators call
// from below autograd.
bool view_of(PyObject* object, Strided& view);

// Only what needs no further look: no subclass, float32 or float64 in this machine's byte order, aligned; and tensors
// that require no grad and are no lazy negation.
bool view_of_plain(PyObject* object, Strided& view);

PyObject* float_dtype(bool single);  // NumPy's, of plain arrays

bool is_plain_array(PyObject* object);
bool is_plain_tensor(PyObject* object);

bool in_forward_mode();  // whether tensors may have tangents, which results would lose

// Raises a tensor's version, so that autograd refuses to go back through the old values. Throws for tensors that were
// made in inference mode: they have none.
void count_change(PyObject* tensor);
bool counts_changes();  // whether count_change may be called

// A tensor over a plain array's memory, which keeps the array alive: what torch.from_numpy gives, in half the time.
pybind11::object tensor_over(const pybind11::object& array);

}  // namespace loopnest
