// Python's arguments as a kernel's parameters: an array for a view or a result, otherwise a plain number.
//
// arrays.py checks shapes, overlap and the like. These checks keep a wrong call from touching memory that it should
// not: the number of axes, the dtype, and whether a result may be written.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <tuple>
#include <type_traits>

#include "bindings/strided.hpp"

namespace loopnest {

namespace py = pybind11;

inline Strided strided(py::handle object) {
    Strided array;
    if (!view_of(object.ptr(), array))
        throw py::type_error("expected an array, not " + std::string(Py_TYPE(object.ptr())->tp_name));
    return array;
}

template <class T>
T* data_of(const Strided& array, index axes) {
    if (array.axes != axes)
        throw py::type_error("an array has " + std::to_string(array.axes) + " axes, expected " + std::to_string(axes));
    if (array.dtype != dtype_of<std::remove_const_t<T>>) throw py::type_error("arrays of different dtypes");
    if (!std::is_const_v<T> && !array.writeable) throw py::type_error("a result's array is read-only");
    return static_cast<T*>(array.data);
}

// Not inlined for matrices and vectors: a dozen parameters of a kernel would take the compiler seconds.
template <class Parameter>
struct From {
    static Parameter python(py::handle object) { return py::cast<Parameter>(object); }
};

template <class T>
struct From<Matrix<T>> {
    [[gnu::noinline]] static Matrix<T> python(py::handle object) {
        const Strided x = strided(object);
        T* const data = data_of<T>(x, 2);
        return {data, x.shape[0], x.shape[1], x.stride(0), x.stride(1)};
    }
};

template <class T>
struct From<Stack<T>> {
    static Stack<T> python(py::handle object) {
        const Strided x = strided(object);
        T* const data = data_of<T>(x, 3);
        return {data, x.shape[0], x.shape[1], x.shape[2], x.stride(0), x.stride(1), x.stride(2)};
    }
};

template <class T>
struct From<Vector<T>> {
    [[gnu::noinline]] static Vector<T> python(py::handle object) {
        const Strided x = strided(object);
        return {data_of<T>(x, 1), x.shape[0], x.stride(0)};
    }
};

template <class T>
struct From<T*> {  // a scalar result: an array without axes
    static T* python(py::handle object) { return data_of<T>(strided(object), 0); }
};

template <class... Parameters>
std::tuple<Parameters...> arguments_of(py::handle call) {
    const auto arguments = py::reinterpret_borrow<py::tuple>(call);
    if (!py::isinstance<py::tuple>(call) || arguments.size() != sizeof...(Parameters))
        throw py::type_error("expected a tuple of " + std::to_string(sizeof...(Parameters)) + " arguments");
    std::size_t n = 0;
    return std::tuple<Parameters...>{From<Parameters>::python(arguments[n++])...};  // braces: from left to right
}

}  // namespace loopnest
