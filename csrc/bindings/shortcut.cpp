// The shortcut: the usual call of an operation, from Python's call to the kernel and back without any Python between.
//
//   ln.matmul(a, b)  ->  call()  ->  take()  ->  Runner::run  ->  the kernel
//
// Operation and Implementation derive from Shortcut, so that their calls arrive here. A usual call has plain NumPy
// arrays or plain torch tensors on the CPU as its inputs, all of float32 or all of float64, whose shapes fit, and
// at most the keyword `out`. Everything else, wrong or merely rare, goes on to the Python method _call, which knows all
// cases and has all messages: what is checked here decides the way and refuses nothing. So both ways give the same, and
// what is in doubt here (whether two arrays overlap, where their extents do) is left to the other.
//
// The way through Python costs 3 to 10 us a call, as much as a product of 64 x 64 matrices; this one 0.15 us, of which
// the new array's allocation is half. Each tensor adds 0.15 us for what torch must be asked, a new one 0.3 us.
#include "bindings/shortcut.hpp"

#include <pybind11/numpy.h>
#include <structmember.h>

#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>

#include "bindings/strided.hpp"

namespace py = pybind11;

namespace loopnest {
namespace {

// To release the GIL and take it again costs 30 ns when no other thread wants it; when one does, it may have it for
// 5 ms, Python's switch interval. Calls of less work than this keep it, since it would be 3 % of their time or more.
// Other threads wait for them at most 10 us for the fastest rungs (a product by SSE2 at 10 GFLOP/s, an exponential at
// 2 ns), and 0.1 ms for the slowest, still far below the switch interval.
constexpr double product_keeps_gil = 40 * 40 * 40;  // multiplications and additions, counted as pairs
constexpr double elements_keep_gil = 4096;

// How the shapes of a usual call go together, and as which matrices kernels get the arrays.
enum class Shapes {
    product,      // (m, k), (k, n) -> (m, n), of any strides
    elementwise,  // one shape for all, in C order: one row
    rows,         // the same: rows as long as the last axis
};

struct Shortcut {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    const Runner* runner;  // null: every call goes on to _call
    Shapes shapes;
    bool option;
};

// What is looked up once. Python objects among them are kept for as long as the process lives.
struct {
    PyTypeObject* type = nullptr;  // Shortcut
    PyTypeObject* array = nullptr;
    PyObject* dtype[2] = {};  // float64, float32: what arrays of these dtypes have by default, and most do
    PyTypeObject* tensor = nullptr;
    const dlpack::ExchangeApi* exchange = nullptr;
    PyObject* allocate = nullptr;  // makes new results, in place of NumPy, where it is not null
    PyObject *_call, *out, *approximate, *tanh, *none, *requires_grad, *is_neg;  // interned names and words
    std::unordered_map<PyObject*, Runner> runners;   // by the kernels that Python knows
    std::size_t taken = 0;
} the;

// An input or a result, in either library's terms.
struct View {
    char* data;
    index axes;
    const index* shape;
    const index* strides;
    int stride_shift;  // strides are in units of 1 << stride_shift to an element
    bool single, c_order, writeable;

    index size() const {
        index product = 1;
        for (index axis = 0; axis < axes; ++axis) product *= shape[axis];
        return product;
    }
    bool has_shape_of(const View& other) const {
        if (axes != other.axes) return false;
        for (index axis = 0; axis < axes; ++axis)
            if (shape[axis] != other.shape[axis]) return false;
        return true;
    }
    // The bytes from the first element's first to the last one's last.
    std::pair<const char*, const char*> extent() const {
        const index element = single ? 4 : 8;
        const char *first = data, *end = data + element;
        for (index axis = 0; axis < axes; ++axis) {
            const index reach = (strides[axis] >> stride_shift) * (shape[axis] - 1) * element;
            (reach < 0 ? first : end) += reach;
        }
        return {first, end};
    }
    Operand as_matrix() const {
        return {data, shape[0], shape[1], strides[0] >> stride_shift, strides[1] >> stride_shift};
    }
    Operand as_rows(index length) const { return {data, size() / length, length, length, 1}; }
};

bool view_array(PyObject* object, View& view) {
    if (Py_TYPE(object) != the.array) return false;
    const auto& array = *py::detail::array_proxy(object);
    if (array.descr != the.dtype[0] && array.descr != the.dtype[1]) return false;
    if (!(array.flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) return false;
    const bool single = array.descr == the.dtype[1];
    view = {.data = array.data,
            .axes = array.nd,
            .shape = array.dimensions,
            .strides = array.strides,
            .stride_shift = single ? 2 : 3,
            .single = single,
            .c_order = bool(array.flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_),
            .writeable = bool(array.flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_)};
    return true;
}

// Whether a tensor's attribute, or its method's answer, is False.
bool is_false(PyObject* object, PyObject* attribute) {
    PyObject* value = PyObject_GetAttr(object, attribute);
    Py_XDECREF(value);
    return value == Py_False;
}
bool answers_false(PyObject* object, PyObject* method) {
    PyObject* value = PyObject_CallMethodNoArgs(object, method);
    Py_XDECREF(value);
    return value == Py_False;
}

bool in_c_order(const dlpack::Tensor& tensor) {
    index step = 1;
    for (index axis = tensor.axes; axis-- > 0; step *= tensor.shape[axis])
        if (tensor.shape[axis] != 1 && tensor.strides[axis] != step) return false;
    return true;
}

bool view_tensor(PyObject* object, View& view) {
    if (sizeof(index) != sizeof(std::int64_t)) return false;  // as torch counts on 32-bit machines too
    dlpack::Tensor tensor;
    if (Py_TYPE(object) != the.tensor || !is_false(object, the.requires_grad) || !answers_false(object, the.is_neg) ||
        the.exchange->tensor_from_object(object, &tensor) != 0)
        return false;
    const auto [code, bits, lanes] = tensor.dtype;
    if (tensor.device.type != dlpack::cpu || code != dlpack::floating || (bits != 32 && bits != 64) || lanes != 1)
        return false;
    if (!tensor.data) return false;  // torch has tensors without memory, of zeros
    char* const data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    if (reinterpret_cast<std::uintptr_t>(data) % (bits / 8) != 0) return false;
    view = {.data = data,
            .axes = tensor.axes,
            .shape = reinterpret_cast<const index*>(tensor.shape),
            .strides = reinterpret_cast<const index*>(tensor.strides),
            .stride_shift = 0,
            .single = bits == 32,
            .c_order = in_c_order(tensor),
            .writeable = true};
    return true;
}

py::object new_array(index axes, const index* shape, bool single) {
    PyObject* const dtype = the.dtype[single];
    if (the.allocate) {
        py::tuple sizes(axes);
        for (index axis = 0; axis < axes; ++axis) sizes[axis] = shape[axis];
        return py::reinterpret_steal<py::object>(
            PyObject_CallFunctionObjArgs(the.allocate, sizes.ptr(), dtype, nullptr));
    }
    Py_INCREF(dtype);  // NumPy takes it over
    return py::reinterpret_steal<py::object>(py::detail::npy_api::get().PyArray_NewFromDescr_(
        the.array, dtype, int(axes), shape, nullptr, nullptr, 0, nullptr));
}

// A tensor over an array's memory, which keeps the array alive: what torch.from_numpy gives, in half the time.
py::object tensor_over(const py::object& array) {
    const auto& memory = *py::detail::array_proxy(array.ptr());
    auto* lent = new dlpack::ManagedTensor{
        .version = {dlpack::major_version, 0},
        .owner = array.inc_ref().ptr(),
        .deleter = [](dlpack::ManagedTensor* lent) {
            if (Py_IsInitialized()) {
                py::gil_scoped_acquire gil;
                Py_DECREF(static_cast<PyObject*>(lent->owner));
            }
            delete lent;
        },
        .flags = 0,
        .tensor = {.data = memory.data,
                   .device = {dlpack::cpu, 0},
                   .axes = memory.nd,
                   .dtype = {dlpack::floating, std::uint8_t(memory.descr == the.dtype[1] ? 32 : 64), 1},
                   .shape = reinterpret_cast<std::int64_t*>(memory.dimensions),
                   .strides = nullptr,  // C order
                   .byte_offset = 0},
    };
    void* tensor = nullptr;
    if (the.exchange->object_from_managed(lent, &tensor) != 0) return {};  // who owns `lent` then is not said: it stays
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(tensor));
}

// The call's result, or null where it is no usual call; then nothing has been written to `out`.
py::object take(const Shortcut& shortcut, PyObject* const* args, index count, PyObject* keywords) {
    const Runner& runner = *shortcut.runner;
    if (count != runner.inputs) return {};
    PyObject* out = Py_None;
    bool option = shortcut.option;
    for (index i = 0; keywords && i < PyTuple_GET_SIZE(keywords); ++i) {
        PyObject *const keyword = PyTuple_GET_ITEM(keywords, i), *const value = args[count + i];
        if (keyword == the.out)
            out = value;
        else if (keyword == the.approximate && shortcut.option && (value == the.tanh || value == the.none))
            option = value == the.tanh;
        else
            return {};
    }
    const bool tensors = Py_TYPE(args[0]) == the.tensor;
    const auto view = tensors ? view_tensor : view_array;
    View views[3];
    for (index i = 0; i < count; ++i)
        if (!view(args[i], views[i]) || views[i].single != views[0].single) return {};

    const View &a = views[0], &b = views[count - 1];  // one input is both
    index product_shape[2];
    View& result = views[count];
    result = {.axes = a.axes, .shape = a.shape};
    const bool product = shortcut.shapes == Shapes::product;
    double work = 0;
    if (product) {
        if (a.axes != 2 || b.axes != 2 || a.shape[1] != b.shape[0]) return {};
        product_shape[0] = a.shape[0];
        product_shape[1] = b.shape[1];
        result.shape = product_shape;
        work = double(a.shape[0]) * double(a.shape[1]) * double(b.shape[1]);
    } else {
        if (a.axes == 0 || !a.c_order || !b.c_order || !b.has_shape_of(a)) return {};
        work = double(a.size());
    }
    if (work == 0) return {};

    py::object memory;
    const View wanted = result;
    if (out == Py_None) {
        memory = new_array(wanted.axes, wanted.shape, a.single);
        if (!memory || !view_array(memory.ptr(), result)) return {};
    } else if (!view(out, result)) {
        return {};
    }
    if (!result.c_order || !result.writeable || result.single != a.single || !result.has_shape_of(wanted)) return {};
    if (out != Py_None)
        for (index i = 0; i < count; ++i) {
            const auto [first, end] = views[i].extent();
            const auto [out_first, out_end] = result.extent();
            if (first < out_end && out_first < end) return {};
        }

    const index length = shortcut.shapes == Shapes::elementwise ? a.size() : a.shape[a.axes - 1];
    Operand operands[3];
    for (index i = 0; i <= count; ++i) operands[i] = product ? views[i].as_matrix() : views[i].as_rows(length);
    if (work < (product ? product_keeps_gil : elements_keep_gil)) {
        runner.run(operands, a.single, option);
    } else {
        py::gil_scoped_release without_gil;
        runner.run(operands, a.single, option);
    }
    ++the.taken;
    if (out != Py_None) return py::reinterpret_borrow<py::object>(out);
    return tensors ? tensor_over(memory) : memory;
}

PyObject* call(PyObject* self, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
    const Shortcut& shortcut = *reinterpret_cast<const Shortcut*>(self);
    if (shortcut.runner) {
        try {
            if (py::object result = take(shortcut, args, PyVectorcall_NARGS(flagged_count), keywords))
                return result.release().ptr();
        } catch (const std::exception&) {  // a kernel had no memory for its scratch: the other way says so
        }
        PyErr_Clear();
    }
    PyObject* const long_way = PyObject_GetAttr(self, the._call);
    if (!long_way) return nullptr;
    PyObject* const result = PyObject_Vectorcall(long_way, args, flagged_count, keywords);
    Py_DECREF(long_way);
    return result;
}

PyObject* create(PyTypeObject* type, PyObject*, PyObject*) {
    PyObject* const self = type->tp_alloc(type, 0);
    if (self) reinterpret_cast<Shortcut*>(self)->vectorcall = call;
    return self;
}

PyTypeObject* make_type() {
    static PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, offsetof(Shortcut, vectorcall), READONLY, nullptr},
        {},
    };
    static PyType_Slot slots[] = {
        {Py_tp_doc, const_cast<char*>("What Operation and Implementation derive from: takes their usual calls, and "
                                      "hands all others to their method _call.")},
        {Py_tp_new, reinterpret_cast<void*>(create)},
        {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
        {Py_tp_members, members},
        {},
    };
    static PyType_Spec spec = {"loopnest._core.Shortcut", sizeof(Shortcut), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL, slots};
    return reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
}

Shortcut& shortcut_of(const py::object& object) {
    if (!PyObject_TypeCheck(object.ptr(), the.type)) throw py::type_error("expected a Shortcut");
    return *reinterpret_cast<Shortcut*>(object.ptr());
}

}  // namespace

bool describe_tensor(PyObject* object, dlpack::Tensor& tensor) {
    return the.tensor && PyObject_TypeCheck(object, the.tensor) &&
           the.exchange->tensor_from_object(object, &tensor) == 0 && tensor.device.type == dlpack::cpu;
}

void add_runner(const py::object& kernel, Runner runner) {
    the.runners.insert_or_assign(kernel.inc_ref().ptr(), std::move(runner));
}

void define_shortcut(py::module_& module) {
    const auto& numpy = py::detail::npy_api::get();
    the.array = numpy.PyArray_Type_;
    the.dtype[0] = numpy.PyArray_DescrFromType_(py::detail::npy_api::NPY_DOUBLE_);
    the.dtype[1] = numpy.PyArray_DescrFromType_(py::detail::npy_api::NPY_FLOAT_);
    the._call = PyUnicode_InternFromString("_call");
    the.out = PyUnicode_InternFromString("out");
    the.approximate = PyUnicode_InternFromString("approximate");
    the.tanh = PyUnicode_InternFromString("tanh");
    the.none = PyUnicode_InternFromString("none");
    the.requires_grad = PyUnicode_InternFromString("requires_grad");
    the.is_neg = PyUnicode_InternFromString("is_neg");
    the.type = make_type();
    if (!the.type) throw py::error_already_set();
    module.attr("Shortcut") = py::handle(reinterpret_cast<PyObject*>(the.type));

    module.def("open_shortcut", [](const py::object& shortcut, const py::object& kernel, const std::string& shapes,
                                   bool option) {
        Shapes how;
        if (shapes == "product")
            how = Shapes::product;
        else if (shapes == "elementwise")
            how = Shapes::elementwise;
        else if (shapes == "rows")
            how = Shapes::rows;
        else
            throw py::value_error("shapes is '" + shapes + "', expected 'product', 'elementwise' or 'rows'");
        const auto found = the.runners.find(kernel.ptr());
        if (found == the.runners.end() || (how == Shapes::product && found->second.inputs != 2)) return false;
        Shortcut& self = shortcut_of(shortcut);
        self.shapes = how;
        self.option = option;
        self.runner = &found->second;
        return true;
    }, py::arg("shortcut"), py::arg("kernel"), py::arg("shapes"), py::arg("option"));
    module.def("shortcuts_taken", [] { return the.taken; });
    module.def("accept_tensors", [](const py::type& tensor) {
        if (!py::hasattr(tensor, "__dlpack_c_exchange_api__")) return false;
        const py::object capsule = tensor.attr("__dlpack_c_exchange_api__");
        if (!PyCapsule_IsValid(capsule.ptr(), dlpack::capsule_name)) return false;
        auto* api = static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), dlpack::capsule_name));
        while (api && api->version.major != dlpack::major_version) api = api->older;
        if (!api || !api->tensor_from_object) return false;
        the.exchange = api;
        the.tensor = reinterpret_cast<PyTypeObject*>(py::object(tensor).release().ptr());
        return true;
    }, py::arg("tensor"));
    module.def("set_allocator", [](const py::object& allocate) {
        Py_XDECREF(the.allocate);
        the.allocate = allocate.is_none() ? nullptr : allocate.inc_ref().ptr();
    }, py::arg("allocate"));
}

}  // namespace loopnest
