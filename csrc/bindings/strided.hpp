// What Python passes to a kernel: a NumPy array, or a torch tensor on the CPU, seen as an address, a shape and strides.
//
// A tensor is asked by DLPack (bindings/dlpack.hpp), in 50 ns, and as it is: whether it requires grad, is a lazy negation or
// has a device of its own is for the caller to know, who is an operator of torch's (python/loopnest/torch/) below autograd.
// Once torch has been introduced, tensors are known here too (accept_tensors in bindings/shortcut.cpp).
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

#include "bindings/dlpack.hpp"
#include "view.hpp"

namespace loopnest {

// torch's description of a tensor, valid while that lives; false for what is no tensor on the CPU.
bool describe_tensor(PyObject* object, dlpack::Tensor& tensor);

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
    index step = 1;  // what strides count, in strides to an element
    DType dtype = DType::other;
    bool writeable = false;

    index stride(index axis) const { return strides[axis] / step; }
};

inline bool view_of_array(PyObject* object, Strided& view) {
    namespace py = pybind11;
    if (!py::isinstance<py::array>(object)) return false;
    const auto& array = *py::detail::array_proxy(object);
    const auto descriptor = py::reinterpret_borrow<py::dtype>(array.descr);
    const auto is = [&](auto like) {
        const auto native = py::dtype::of<decltype(like)>();
        return descriptor.is(native) || descriptor.equal(native);
    };
    view = {.data = array.data, .axes = array.nd, .shape = array.dimensions, .strides = array.strides,
            .step = index(descriptor.itemsize()),
            .dtype = is(0.0f) ? DType::f32 : is(0.0) ? DType::f64 : is(std::int64_t(0)) ? DType::i64 : DType::other,
            .writeable = bool(array.flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_)};
    return true;
}

inline bool view_of_tensor(PyObject* object, Strided& view) {
    static_assert(sizeof(index) == sizeof(std::int64_t), "torch counts in 64 bits");
    dlpack::Tensor tensor;
    if (!describe_tensor(object, tensor)) return false;
    const auto [code, bits, lanes] = tensor.dtype;
    const bool single = code == dlpack::floating && bits == 32, twice = code == dlpack::floating && bits == 64;
    view = {.data = static_cast<char*>(tensor.data) + tensor.byte_offset,
            .axes = tensor.axes,
            .shape = reinterpret_cast<const index*>(tensor.shape),
            .strides = reinterpret_cast<const index*>(tensor.strides),
            .step = 1,
            .dtype = single                                  ? DType::f32
                     : twice                                 ? DType::f64
                     : code == dlpack::signed_ && bits == 64 ? DType::i64
                                                             : DType::other,
            .writeable = true};
    return true;
}

}  // namespace loopnest

template <>
struct pybind11::detail::type_caster<loopnest::Strided> {
    PYBIND11_TYPE_CASTER(loopnest::Strided, const_name("numpy.ndarray | torch.Tensor"));
    bool load(handle source, bool) {
        return loopnest::view_of_array(source.ptr(), value) || loopnest::view_of_tensor(source.ptr(), value);
    }
    // Views go in and never come out; pybind11's tuples want both ways.
    static handle cast(const loopnest::Strided&, return_value_policy, handle) { throw cast_error("a view of an array"); }
};
