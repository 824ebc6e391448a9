// Arrays and tensors as views. NumPy's arrays are read by pybind11's own struct of them, tensors by DLPack
// (bindings/dlpack.hpp) once Python has shown what a tensor is: both take some 20 to 50 ns.
#include "bindings/strided.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "bindings/module.hpp"

namespace py = pybind11;

namespace loopnest {
namespace {

// Looked up once, and kept for as long as the process lives.
struct {
    PyTypeObject* array = nullptr;
    PyObject *f64 = nullptr, *f32 = nullptr, *i64 = nullptr;  // the dtypes of plain arrays
    PyTypeObject* tensor = nullptr;                           // these two: null until accept_tensors
    const dlpack::ExchangeApi* exchange = nullptr;
    const PyGetSetDef *requires_grad = nullptr, *impl = nullptr;  // a tensor's attributes; impl is the C++ object's address
    PyCFunction is_neg = nullptr;                                 // a tensor's method
    void (*bump_version)(void* const& impl) = nullptr;            // torch's; null where it has none of this name
    PyObject *forward_mode = nullptr, *current_level = nullptr;   // torch.autograd.forward_ad's names; one of them
} known;

DType dtype_of_array(PyObject* descriptor) {
    if (descriptor == known.f32) return DType::f32;
    if (descriptor == known.f64) return DType::f64;
    if (descriptor == known.i64) return DType::i64;
    const auto dtype = py::reinterpret_borrow<py::dtype>(descriptor);  // another object may mean the same
    const auto is = [&](PyObject* like) { return dtype.equal(py::handle(like)); };
    if (is(known.f32) || is(known.f64) || is(known.i64))
        return is(known.f32) ? DType::f32 : is(known.f64) ? DType::f64 : DType::i64;
    const char kind = dtype.kind();
    switch (dtype.byteorder() == '>' ? 0 : dtype.itemsize()) {
        case 1: return kind == 'i' ? DType::i8 : DType::other;
        case 2: return kind == 'f' ? DType::f16 : kind == 'u' ? DType::bf16 : DType::other;
        case 4: return kind == 'i' ? DType::i32 : DType::other;
        default: return DType::other;
    }
}

// The size of an element is 1 << shift.
int shift_of(DType dtype) {
    switch (dtype) {
        case DType::f64:
        case DType::i64: return 3;
        case DType::f32:
        case DType::i32: return 2;
        case DType::f16:
        case DType::bf16: return 1;
        default: return 0;
    }
}

void view_array(PyObject* object, DType dtype, Strided& view) {
    const auto& array = *py::detail::array_proxy(object);
    view = {.data = array.data,
            .axes = array.nd,
            .shape = array.dimensions,
            .strides = array.strides,
            .shift = shift_of(dtype),
            .dtype = dtype,
            .writeable = bool(array.flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_)};
}

bool view_tensor(PyObject* object, Strided& view) {
    static_assert(sizeof(index) == sizeof(std::int64_t), "torch counts in 64 bits");
    dlpack::Tensor tensor;
    if (known.exchange->tensor_from_object(object, &tensor) != 0 || tensor.device.type != dlpack::cpu) return false;
    const auto [code, bits, lanes] = tensor.dtype;
    const bool is_float = code == dlpack::floating && lanes == 1;
    view = {.data = static_cast<char*>(tensor.data) + tensor.byte_offset,
            .axes = tensor.axes,
            .shape = reinterpret_cast<const index*>(tensor.shape),
            .strides = reinterpret_cast<const index*>(tensor.strides),
            .shift = 0,
            .dtype = is_float && bits == 32                 ? DType::f32
                     : is_float && bits == 64               ? DType::f64
                     : code == dlpack::signed_ && bits == 64 ? DType::i64
                                                             : DType::other,
            .writeable = true};
    return true;
}

bool is_false(PyObject* value) { return py::reinterpret_steal<py::object>(value).ptr() == Py_False; }

// Attributes and methods that torch defines in C are called 20 ns sooner here than by their names.
const PyGetSetDef* attribute_in_c(const py::object& descriptor) {
    if (Py_TYPE(descriptor.ptr()) != &PyGetSetDescr_Type) return nullptr;
    return reinterpret_cast<PyGetSetDescrObject*>(descriptor.ptr())->d_getset;
}

PyCFunction method_in_c(const py::object& descriptor) {
    if (Py_TYPE(descriptor.ptr()) != &PyMethodDescr_Type) return nullptr;
    const PyMethodDef* method = reinterpret_cast<PyMethodDescrObject*>(descriptor.ptr())->d_method;
    return method->ml_flags == METH_NOARGS ? method->ml_meth : nullptr;
}

PyObject* get(const PyGetSetDef* attribute, PyObject* object) { return attribute->get(object, attribute->closure); }

// torch::autograd::impl::bump_version(const at::Tensor&), looked up in the library that has `function` and in those
// that this one needs. An at::Tensor is the address of its implementation.
void (*bump_version_near(const void* function))(void* const&) {
    Dl_info where;
    void* const library = dladdr(function, &where) ? dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : nullptr;
    void* const found = library ? dlsym(library, "_ZN5torch8autograd4impl12bump_versionERKN2at6TensorE") : nullptr;
    return reinterpret_cast<void (*)(void* const&)>(found);
}

}  // namespace

index Strided::size() const { return std::accumulate(shape, shape + axes, index(1), std::multiplies()); }

bool Strided::in_c_order() const {
    index step = 1;
    for (index axis = axes; axis-- > 0; step *= shape[axis])
        if (shape[axis] != 1 && strides[axis] != step << shift) return false;
    return true;
}

bool Strided::has_shape_of(const Strided& other) const {
    return std::equal(shape, shape + axes, other.shape, other.shape + other.axes);
}

std::pair<const char*, const char*> Strided::extent() const {
    const index element = dtype == DType::f32 ? 4 : 8;
    const char *first = static_cast<const char*>(data), *end = first + (size() == 0 ? 0 : element);
    if (first == end) return {first, end};
    for (index axis = 0; axis < axes; ++axis) {
        const index reach = stride(axis) * (shape[axis] - 1) * element;
        (reach < 0 ? first : end) += reach;
    }
    return {first, end};
}

bool view_of(PyObject* object, Strided& view) {
    if (PyObject_TypeCheck(object, known.array))
        return view_array(object, dtype_of_array(py::detail::array_proxy(object)->descr), view), true;
    return known.tensor && PyObject_TypeCheck(object, known.tensor) && view_tensor(object, view);
}

bool is_plain_array(PyObject* object) { return Py_TYPE(object) == known.array; }
bool is_plain_tensor(PyObject* object) { return Py_TYPE(object) == known.tensor; }

bool view_of_plain(PyObject* object, Strided& view) {
    if (is_plain_array(object)) {
        const auto& array = *py::detail::array_proxy(object);
        const bool single = array.descr == known.f32, aligned = array.flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_;
        if (!aligned || (!single && array.descr != known.f64)) return false;
        view_array(object, single ? DType::f32 : DType::f64, view);
        return true;
    }
    if (!is_plain_tensor(object) || !is_false(get(known.requires_grad, object)) ||
        !is_false(known.is_neg(object, nullptr)) || !view_tensor(object, view))
        return false;
    const std::uintptr_t element = view.dtype == DType::f32 ? 4 : 8;
    return (view.dtype == DType::f32 || view.dtype == DType::f64) && view.data &&  // tensors of zeros have no memory
           reinterpret_cast<std::uintptr_t>(view.data) % element == 0;
}

bool in_forward_mode() {
    PyObject* const level = PyDict_GetItem(known.forward_mode, known.current_level);
    return !level || PyLong_AsLong(level) >= 0;
}

bool counts_changes() { return known.bump_version; }

void count_change(PyObject* tensor) {
    const auto address = py::reinterpret_steal<py::object>(get(known.impl, tensor));
    void* const impl = PyLong_AsVoidPtr(address.ptr());
    if (PyErr_Occurred()) throw py::error_already_set();
    known.bump_version(impl);
}

PyObject* float_dtype(bool single) { return single ? known.f32 : known.f64; }

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
                   .dtype = {dlpack::floating, std::uint8_t(memory.descr == known.f32 ? 32 : 64), 1},
                   .shape = reinterpret_cast<std::int64_t*>(memory.dimensions),
                   .strides = nullptr,  // C order
                   .byte_offset = 0},
    };
    void* tensor = nullptr;
    // DLPack does not say who owns `lent` after a failure, so it is leaked then.
    if (known.exchange->object_from_managed(lent, &tensor) != 0) return {};
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(tensor));
}

void define_views(py::module_& module) {
    const auto& numpy = py::detail::npy_api::get();
    known.array = numpy.PyArray_Type_;
    known.f64 = py::dtype::of<double>().release().ptr();
    known.f32 = py::dtype::of<float>().release().ptr();
    known.i64 = py::dtype::of<std::int64_t>().release().ptr();
    known.current_level = PyUnicode_InternFromString("_current_level");

    module.def("accept_tensors", [](const py::type& tensor, const py::dict& forward_mode) {
        if (!py::hasattr(tensor, "__dlpack_c_exchange_api__")) return false;
        const py::object capsule = tensor.attr("__dlpack_c_exchange_api__");
        if (!PyCapsule_IsValid(capsule.ptr(), dlpack::capsule_name)) return false;
        auto* api = static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), dlpack::capsule_name));
        while (api && api->version.major != dlpack::major_version) api = api->older;
        if (!api || !api->tensor_from_object) return false;
        known.requires_grad = attribute_in_c(tensor.attr("requires_grad"));
        known.is_neg = method_in_c(tensor.attr("is_neg"));
        known.impl = attribute_in_c(tensor.attr("_cdata"));
        if (!known.requires_grad || !known.is_neg || !known.impl) return false;
        known.bump_version = bump_version_near(reinterpret_cast<const void*>(api->tensor_from_object));
        known.forward_mode = py::object(forward_mode).release().ptr();
        known.exchange = api;
        known.tensor = reinterpret_cast<PyTypeObject*>(py::object(tensor).release().ptr());
        return true;
    }, py::arg("tensor"), py::arg("forward_mode"),
       "Read objects of this type, torch.Tensor, too; False where it lacks DLPack's C interface.");
}

}  // namespace loopnest
