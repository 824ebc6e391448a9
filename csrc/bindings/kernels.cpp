// The kernels of rungs.def as Python functions: arrays in, pointers and strides out.
//
// Each signature has one instance of a few templates, and pybind11 knows one type of function for all of them.
#include <pybind11/stl.h>

#include <type_traits>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/module.hpp"
#include "dispatch/levels.hpp"
#include "measure/in_step.hpp"

namespace loopnest {

// A product of reduced precision, by its rung's name.
template <class T, class S>
struct From<void (*)(Matrix<const T>, Matrix<const T>, Matrix<S>)> {
    static ProductFn<T> python(py::handle object) {
        const auto variant = py::cast<std::string>(object);
        for (const ReducedRung& rung : *active_isa().reduced)
            if (rung.signature == &reduced_signature_id<ReducedFn> && rung.variant == variant) {
                const ReducedKernel<ReducedFn>& kernel = rung.as<ReducedFn>();
                ProductFn<T> found;
                if constexpr (std::is_same_v<T, bfloat16>)
                    found = kernel.bf16_to_f32;
                else if constexpr (std::is_same_v<T, float16>)
                    found = kernel.f16_to_f32;
                else
                    found = kernel.i8_to_i32;
                if (found) return found;
            }
        throw py::value_error("no rung '" + variant + "' of matmul takes elements of this dtype");
    }
};

namespace {

DType dtype_of_first(py::handle call) {
    const auto arguments = py::reinterpret_borrow<py::tuple>(call);
    if (!py::isinstance<py::tuple>(call) || arguments.empty()) throw py::type_error("expected an array");
    const DType dtype = strided(arguments[0]).dtype;
    if (dtype != DType::f32 && dtype != DType::f64) throw py::type_error("expected arrays of float32 or float64");
    return dtype;
}

template <class Result, class... Parameters>
py::object call(Result (*kernel)(Parameters...), py::handle arguments) {
    const auto passed = arguments_of<Parameters...>(arguments);
    const auto run = [&] {
        const py::gil_scoped_release without_gil;
        return std::apply(kernel, passed);
    };
    if constexpr (std::is_void_v<Result>)
        return run(), py::none();
    else
        return py::cast(run());
}

template <template <class> class Fn>
py::object call_rung(const Rung& rung, py::handle arguments) {
    const Kernel<Fn>& kernel = rung.as<Fn>();
    return dtype_of_first(arguments) == DType::f32 ? call(kernel.f32, arguments) : call(kernel.f64, arguments);
}

// The kernels that the fast path can run: what they read comes first, then the result, then at most a form of the
// formula.
template <class T>
void run(UnaryFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1]); }
template <class T>
void run(BinaryFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1], x[2]); }
template <class T>
void run(DotFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1], x[2]); }
template <class T>
void run(SumFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1]); }
template <class T>
void run(MseFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1], x[2]); }
template <class T>
void run(GeluFn<T> kernel, const Operand* x, bool tanh_form) { kernel(x[0], x[1], tanh_form); }
template <class T>
void run(GeluBackwardFn<T> kernel, const Operand* x, bool tanh_form) { kernel(x[0], x[1], x[2], tanh_form); }

template <class... Parameters>
constexpr int inputs_of(void (*)(Parameters...)) {
    using std::is_same_v;
    return (... + int(is_same_v<Parameters, Matrix<const float>> || is_same_v<Parameters, Vector<const float>>));
}

template <template <class> class Fn>
void open_to_fast_path(const py::object& function, std::size_t n) {
    if constexpr (requires(Fn<float> any) { run(any, nullptr, true); })
        add_runner(function, {inputs_of(Fn<float>{}), [n](const Operand* operands, bool single, bool option) {
                                  const Kernel<Fn>& kernel = (*active_isa().kernels)[n].template as<Fn>();
                                  single ? run(kernel.f32, operands, option) : run(kernel.f64, operands, option);
                              }});
}

// Each call on a thread of its own, after its call of warm_up if there is one: the seconds from the common beginning to
// the last end, and what each returned.
template <class Result, class... Parameters>
py::object run_in_step(Result (*loop)(Parameters...), const py::list& calls, const py::list& warm_up) {
    constexpr bool returns = !std::is_void_v<Result>;
    std::vector<std::tuple<Parameters...>> of_thread, first;
    for (const py::handle one : calls) of_thread.push_back(arguments_of<Parameters...>(one));
    for (const py::handle one : warm_up) first.push_back(arguments_of<Parameters...>(one));
    std::vector<std::conditional_t<returns, Result, std::nullptr_t>> results(of_thread.size());
    const auto warm = [&](index n) { if (n < index(first.size())) std::apply(loop, first[std::size_t(n)]); };
    const auto work = [&](index n) {
        if constexpr (returns)
            results[std::size_t(n)] = std::apply(loop, of_thread[std::size_t(n)]);
        else
            std::apply(loop, of_thread[std::size_t(n)]);
    };
    double seconds;
    {
        const py::gil_scoped_release without_gil;
        seconds = seconds_in_step(index(of_thread.size()), warm, work);
    }
    return py::make_tuple(seconds, py::cast(results));
}

template <template <class> class Fn>
py::object run_rung_in_step(const Rung& rung, const py::list& calls, const py::list& warm_up) {
    const Kernel<Fn>& loop = rung.as<Fn>();
    return dtype_of_first(calls[0]) == DType::f32 ? run_in_step(loop.f32, calls, warm_up)
                                                  : run_in_step(loop.f64, calls, warm_up);
}

template <class... Parameters>
constexpr std::size_t arrays_of(void (*)(Parameters...)) {  // they come first, and the results come last of them
    return (... + std::size_t(!std::is_scalar_v<Parameters>));
}

// The function of a line REDUCED, by the dtypes of its input and its result.
template <template <class, class> class Fn>
void call_reduced(const ReducedRung& rung, const py::args& arguments) {
    const ReducedKernel<Fn>& kernel = rung.as<Fn>();
    const auto call_if = [&](auto function) {
        if (!function) throw py::type_error("this kernel takes no elements of this dtype");
        call(function, arguments);
    };
    constexpr std::size_t arrays = arrays_of(Fn<float16, float16>{});
    if (arguments.size() < arrays) throw py::type_error("expected " + std::to_string(arrays) + " arrays");
    const DType result = strided(arguments[arrays - 1]).dtype;
    switch (strided(arguments[0]).dtype) {
        case DType::bf16: return result == DType::bf16 ? call_if(kernel.bf16) : call_if(kernel.bf16_to_f32);
        case DType::f16: return result == DType::f16 ? call_if(kernel.f16) : call_if(kernel.f16_to_f32);
        case DType::i8: return result == DType::f32 ? call_if(kernel.i8_to_f32) : call_if(kernel.i8_to_i32);
        default: throw py::type_error("expected arrays of bfloat16's bits (uint16), float16 or int8");
    }
}

void define_reduced(py::module_& module) {
    py::dict functions;
    std::size_t n = 0;
    const auto add = [&](const char* operation, const char* variant, auto call) {
        functions.attr("setdefault")(operation, py::dict())[variant] = py::cpp_function(
            [n, call](const py::args& arguments) { call((*active_isa().reduced)[n], arguments); }, py::name(variant));
        ++n;
    };
#define RUNG(operation, Signature, variant, compiled, simulated, header)
#define REDUCED(operation, Signature, variant, compiled, simulated, header) \
    add(#operation, #variant, call_reduced<Signature##Fn>);
#include "rungs.def"
    module.attr("reduced") = functions;
}

using Call = py::object (*)(const Rung&, py::handle arguments);
using CallInStep = py::object (*)(const Rung&, const py::list& calls, const py::list& warm_up);

// The function of line n of rungs.def. Which ISA level's kernel runs is looked up at the call.
py::object add_function(py::dict& functions, std::size_t n, Call call) {
    const Rung& line = (*isa_levels().front().kernels)[n];
    const py::cpp_function function(
        [n, call](const py::args& arguments) { return call((*active_isa().kernels)[n], arguments); },
        py::name(line.variant));
    functions.attr("setdefault")(line.operation, py::dict())[line.variant] = function;
    return function;
}

// in_step[variant](isa, calls, warm_up): on the ISA level of this name, whichever is active.
void add_in_step(py::dict& functions, std::size_t n, CallInStep call) {
    const Rung& line = (*isa_levels().front().kernels)[n];
    functions[line.variant] = py::cpp_function(
        [n, call](const std::string& isa, const py::list& calls, const py::list& warm_up) {
            if (calls.empty()) throw py::value_error("calls is empty, expected the arguments of one thread at least");
            return call((*level_called(isa).kernels)[n], calls, warm_up);
        },
        py::name(line.variant), py::arg("isa"), py::arg("calls"), py::arg("warm_up") = py::list());
}

}  // namespace

void define_kernels(py::module_& module) {
    py::dict kernels, limits, in_step;
    std::size_t n = 0;
#define RUNG(operation, Signature, variant, compiled, simulated, header) \
    open_to_fast_path<Signature##Fn>(add_function(kernels, n, call_rung<Signature##Fn>), n), ++n;
#define LIMIT(operation, Signature, variant, compiled, simulated, header) \
    add_function(limits, n, call_rung<Signature##Fn>);                    \
    add_in_step(in_step, n, run_rung_in_step<Signature##Fn>), ++n;
#include "rungs.def"
    module.attr("kernels") = kernels;
    module.attr("limits") = limits;
    module.attr("in_step") = in_step;
    define_reduced(module);
}

}  // namespace loopnest
