// The fast path: an ordinary call of a C++ rung, checked here instead of in Python.
//
//   Operation.__call__  ->  fast(args, kwargs)  ->  take()  ->  Runner::run  ->  the kernel
//
// An ordinary call has plain NumPy arrays or plain torch tensors on the CPU as inputs, all of float32 or all of
// float64, whose shapes fit (`Shapes` has the kinds), and at most the keyword `out`. For every other call, wrong or
// merely rare, `fast` returns NotImplemented; then the contract runs, which knows all cases and has all messages. These
// checks only choose a path; they never raise. In doubt (two arrays may overlap, where their extents do) they decline.
//
// The contract's checks in Python take 3 to 10 us, as long as a product of 64 x 64 matrices. This way takes 0.36 us
// (4 x 4 floats, Zen 4), 0.1 us of it for the result's memory. Each tensor adds 0.15 us, a new one 0.3 us.
#include <pybind11/numpy.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>

#include "bindings/module.hpp"
#include "bindings/strided.hpp"

namespace py = pybind11;

namespace loopnest {
namespace {

// Releasing the GIL and taking it again costs 30 ns, or 5 ms if another thread wants it (Python's switch interval).
// Calls of less work than this keep it: 30 ns would be 3 % of their time or more. Others wait for them 0.1 ms at most.
constexpr double product_keeps_gil = 40 * 40 * 40;  // multiplications and additions, counted as pairs
constexpr double elements_keep_gil = 4096;

// How the shapes of a call go together, and as which matrices kernels get the arrays.
enum class Shapes {
    product,      // (m, k), (k, n) -> (m, n), of any strides
    elementwise,  // one shape for all, in C order: one row
    rows,         // the same: rows as long as the last axis
    total,        // one shape for all, in C order: one row -> a number
    dot,          // (n,), (n,) -> a number, of any strides
    transpose,    // (m, n) -> (n, m), of any strides
};

struct FastPath {
    const Runner* runner;
    Shapes shapes;
    bool option;  // whether the kernel takes a form: the tanh form, unless approximate="none" says otherwise
};

std::unordered_map<PyObject*, Runner> runners;  // by the kernels that Python knows, which live as long as the process
PyObject* allocate = nullptr;                   // makes new results, in place of NumPy, where it is not null
PyObject *out_name, *approximate_name, *tanh_word, *none_word;  // interned
std::size_t calls = 0;

bool is_word(PyObject* value, PyObject* word) {
    return value == word || (PyUnicode_Check(value) && PyUnicode_Compare(value, word) == 0);
}

py::object new_array(const Strided& like, bool single) {
    PyObject* const dtype = float_dtype(single);
    if (allocate) {
        py::tuple sizes(like.axes);
        for (index axis = 0; axis < like.axes; ++axis) sizes[axis] = like.shape[axis];
        return py::reinterpret_steal<py::object>(PyObject_CallFunctionObjArgs(allocate, sizes.ptr(), dtype, nullptr));
    }
    const auto& numpy = py::detail::npy_api::get();
    Py_INCREF(dtype);  // NumPy takes it over
    return py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
        numpy.PyArray_Type_, dtype, int(like.axes), like.shape, nullptr, nullptr, 0, nullptr));
}

bool overlap(const Strided& x, const Strided& y) {
    const auto [x_first, x_end] = x.extent();
    const auto [y_first, y_end] = y.extent();
    return x_first < y_end && y_first < x_end;
}

// The call's result, or null where it declines; then nothing has been written to `out`.
py::object take(const FastPath& path, PyObject* args, PyObject* kwargs) {
    const Runner& runner = *path.runner;
    const index count = PyTuple_GET_SIZE(args);
    if (count != runner.inputs) return {};
    PyObject *out = Py_None, *keyword, *value;
    bool option = path.option;
    for (Py_ssize_t place = 0; PyDict_Next(kwargs, &place, &keyword, &value);) {
        if (is_word(keyword, out_name))
            out = value;
        else if (path.option && is_word(keyword, approximate_name) && (value == tanh_word || value == none_word))
            option = value == tanh_word;
        else
            return {};
    }
    const bool tensors = is_plain_tensor(PyTuple_GET_ITEM(args, 0));
    if (tensors && in_forward_mode()) return {};
    const auto view = [&](PyObject* object, Strided& view) {
        return (tensors ? is_plain_tensor(object) : is_plain_array(object)) && view_of_plain(object, view);
    };
    Strided views[3];
    for (index i = 0; i < count; ++i)
        if (!view(PyTuple_GET_ITEM(args, i), views[i]) || views[i].dtype != views[0].dtype) return {};

    const Strided &a = views[0], &b = views[count - 1];  // one input is both
    const bool single = a.dtype == DType::f32, product = path.shapes == Shapes::product;
    index result_shape[2];
    Strided wanted = {.axes = a.axes, .shape = a.shape};
    double work = double(a.size());
    switch (path.shapes) {
        case Shapes::product:
            if (a.axes != 2 || b.axes != 2 || a.shape[1] != b.shape[0]) return {};
            if (a.shape[0] == 0 || b.shape[1] == 0) return {};
            wanted.shape = result_shape;
            result_shape[0] = a.shape[0];
            result_shape[1] = b.shape[1];
            work *= double(b.shape[1]);
            break;
        case Shapes::transpose:
            if (a.axes != 2 || a.size() == 0) return {};
            wanted.shape = result_shape;
            result_shape[0] = a.shape[1];
            result_shape[1] = a.shape[0];
            break;
        case Shapes::dot:
            if (a.axes != 1 || !b.has_shape_of(a)) return {};
            wanted.axes = 0;
            break;
        case Shapes::total: wanted.axes = 0; [[fallthrough]];
        case Shapes::elementwise:
        case Shapes::rows:
            if (a.axes == 0 || !a.in_c_order() || !b.in_c_order() || !b.has_shape_of(a)) return {};
    }
    if (work == 0) return {};

    py::object memory;
    Strided& result = views[count];
    if (out == Py_None) {
        memory = new_array(wanted, single);
        if (!memory || !is_plain_array(memory.ptr()) || !view_of_plain(memory.ptr(), result)) return {};
    } else if (!view(out, result) || (tensors && !counts_changes())) {
        return {};
    }
    if (!result.writeable || result.dtype != a.dtype || !result.has_shape_of(wanted) || !result.in_c_order()) return {};
    if (out != Py_None && (overlap(result, a) || overlap(result, b))) return {};

    const index length = path.shapes == Shapes::rows ? a.shape[a.axes - 1] : a.size();
    const bool matrices = product || path.shapes == Shapes::transpose;
    Operand operands[3];
    for (index i = 0; i <= count; ++i) {
        const Strided& x = views[i];
        if (x.axes == 0)
            operands[i] = {x.data, 1, 1, 1, 1};
        else if (path.shapes == Shapes::dot)
            operands[i] = {x.data, 1, x.shape[0], 0, x.stride(0)};
        else if (matrices)
            operands[i] = {x.data, x.shape[0], x.shape[1], x.stride(0), x.stride(1)};
        else
            operands[i] = {x.data, x.size() / length, length, length, 1};
    }
    if (work < (product ? product_keeps_gil : elements_keep_gil)) {
        runner.run(operands, single, option);
    } else {
        py::gil_scoped_release without_gil;
        runner.run(operands, single, option);
    }
    if (tensors && out != Py_None) count_change(out);
    ++calls;
    if (out != Py_None) return py::reinterpret_borrow<py::object>(out);
    if (tensors) return tensor_over(memory);
    return wanted.axes > 0 ? memory : memory[py::tuple()];  // a number, as NumPy gives it
}

// fast(args, kwargs), a tuple and a dict, as Implementation.__call__ has them.
PyObject* fast(PyObject* capsule, PyObject* const* given, Py_ssize_t count) {
    if (count != 2 || !PyTuple_Check(given[0]) || !PyDict_Check(given[1])) {
        PyErr_SetString(PyExc_TypeError, "a fast path takes a tuple of arguments and a dict of keywords");
        return nullptr;
    }
    try {
        const auto& path = *static_cast<const FastPath*>(PyCapsule_GetPointer(capsule, nullptr));
        if (py::object result = take(path, given[0], given[1])) return result.release().ptr();
    } catch (const std::exception&) {  // a kernel had no memory for its scratch: the contract's way reports that
    }
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
}

py::object make_fast_path(const py::object& kernel, const std::string& name, bool option) {
    struct Kind {
        const char* name;
        Shapes shapes;
        int inputs;  // 0: as many as the kernel has
    };
    static constexpr Kind kinds[] = {{"product", Shapes::product, 2},     {"elementwise", Shapes::elementwise, 0},
                                     {"rows", Shapes::rows, 0},           {"total", Shapes::total, 0},
                                     {"dot", Shapes::dot, 2},             {"transpose", Shapes::transpose, 1}};
    const auto kind = std::ranges::find(kinds, name, &Kind::name);
    if (kind == std::end(kinds))
        throw py::value_error("shapes is '" + name + "', expected 'product', 'elementwise', 'rows', 'total', 'dot' or "
                              "'transpose'");
    const auto found = runners.find(kernel.ptr());
    if (found == runners.end() || (kind->inputs != 0 && found->second.inputs != kind->inputs)) return py::none();
    static PyMethodDef method = {"fast", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fast)),
                                 METH_FASTCALL, "The result of an ordinary call, or NotImplemented."};
    const py::capsule path(new FastPath{&found->second, kind->shapes, option},
                           [](void* path) { delete static_cast<FastPath*>(path); });
    return py::reinterpret_steal<py::object>(PyCFunction_New(&method, path.ptr()));
}

}  // namespace

void add_runner(const py::object& kernel, Runner runner) {
    runners.insert_or_assign(kernel.inc_ref().ptr(), std::move(runner));
}

void define_fast_path(py::module_& module) {
    out_name = PyUnicode_InternFromString("out");
    approximate_name = PyUnicode_InternFromString("approximate");
    tanh_word = PyUnicode_InternFromString("tanh");
    none_word = PyUnicode_InternFromString("none");
    module.def("fast_path", &make_fast_path, py::arg("kernel"), py::arg("shapes"), py::arg("option"));
    module.def("fast_path_calls", [] { return calls; });
    module.def("set_allocator", [](const py::object& allocator) {
        Py_XDECREF(allocate);
        allocate = allocator.is_none() ? nullptr : allocator.inc_ref().ptr();
    }, py::arg("allocate"));
}

}  // namespace loopnest
