// The Python module loopnest._core: arrays in, pointers and strides out.
//
// Shapes, overlap and the like are checked in Python (arrays.py); what is checked here keeps a wrong call from
// touching memory that it should not: the number of axes, the dtype, and that a result may be written.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>

#include "bindings/cache_simulator.hpp"
#include "bindings/fast_path.hpp"
#include "bindings/strided.hpp"
#include "kernels.hpp"
#include "machine/accuracy.hpp"
#include "machine/caches.hpp"
#include "machine/in_step.hpp"
#include "machine/latency.hpp"
#include "machine/threads.hpp"
#include "simd/dispatch.hpp"

namespace py = pybind11;

namespace loopnest {
namespace {

// What Python passes for each type of a kernel's parameters: an array for a view or a result, else a plain number.
template <class Arg>
struct Python {
    using type = Arg;
    static Arg pass(Arg value) { return value; }
};

template <class T>
T* data_of(const Strided& array, index axes) {
    if (array.axes != axes)
        throw py::type_error("an array has " + std::to_string(array.axes) + " axes, expected " + std::to_string(axes));
    if (array.dtype != dtype_of<std::remove_const_t<T>>) throw py::type_error("arrays of different dtypes");
    if (!std::is_const_v<T> && !array.writeable) throw py::type_error("a result's array is read-only");
    return static_cast<T*>(array.data);
}

template <class T>
struct Python<Matrix<T>> {
    using type = Strided;
    static Matrix<T> pass(const Strided& array) {
        T* const data = data_of<T>(array, 2);
        return {data, array.shape[0], array.shape[1], array.stride(0), array.stride(1)};
    }
};

template <class T>
struct Python<Vector<T>> {
    using type = Strided;
    static Vector<T> pass(const Strided& array) {
        T* const data = data_of<T>(array, 1);
        return {data, array.shape[0], array.stride(0)};
    }
};

template <class T>
struct Python<T*> {  // a scalar result: an array without axes
    using type = Strided;
    static T* pass(const Strided& array) { return data_of<T>(array, 0); }
};

template <class Result, class... Args>
Result call(Result (*kernel)(Args...), typename Python<Args>::type... args) {
    auto run = [&](Args... passed) {
        py::gil_scoped_release without_gil;
        return kernel(passed...);
    };
    return run(Python<Args>::pass(args)...);
}

// The kernels that the fast path can run: the matrices that they read come first, then the one that they fill, then at
// most a form of the formula.
template <class T>
void run(UnaryFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1]); }
template <class T>
void run(BinaryFn<T> kernel, const Operand* x, bool) { kernel(x[0], x[1], x[2]); }
template <class T>
void run(GeluFn<T> kernel, const Operand* x, bool tanh_form) { kernel(x[0], x[1], tanh_form); }
template <class T>
void run(GeluBackwardFn<T> kernel, const Operand* x, bool tanh_form) { kernel(x[0], x[1], x[2], tanh_form); }

template <class... Rest>
const Strided& first_array(const Strided& first, const Rest&...) {
    return first;
}

// kernels[operation][variant] for each rung of an operation's list. Which ISA level's kernel runs is looked up at the
// call. The float signature stands for both: Python passes the same for float and double.
template <template <class> class Fn, class Result, class... Args>
void define(py::dict& kernels, const char* operation, Rungs<Fn> Kernels::*rungs, const Kernels* IsaLevel::*table,
            Result (*)(Args...)) {
    const Rungs<Fn> names = isa_levels().front().*table->*rungs;
    if (!kernels.contains(operation)) kernels[operation] = py::dict();
    for (index i = 0; i < names.count; ++i) {
        const auto active = [=]() -> const Rung<Fn>& { return (active_isa().*table->*rungs).first[i]; };
        const py::cpp_function kernel(
            [=](typename Python<Args>::type... args) -> Result {
                const Rung<Fn>& rung = active();
                const DType dtype = first_array(args...).dtype;
                if (dtype == DType::f32) return call(rung.f32, args...);
                if (dtype == DType::f64) return call(rung.f64, args...);
                throw py::type_error("expected arrays of float32 or float64");
            },
            py::name(names.first[i].name));
        kernels[operation][names.first[i].name] = kernel;
        if constexpr (requires(Fn<float> any) { run(any, nullptr, true); }) {
            constexpr int inputs = (... + int(std::is_same_v<Args, Matrix<const float>>));
            add_runner(kernel, {inputs, [=](const Operand* operands, bool single, bool option) {
                if (single)
                    run(active().f32, operands, option);
                else
                    run(active().f64, operands, option);
            }});
        }
    }
}

template <template <class> class Fn>
void define(py::dict& kernels, const char* operation, Rungs<Fn> Kernels::*rungs) {
    define(kernels, operation, rungs, &IsaLevel::kernels, Fn<float>{});
    define(kernels, operation, rungs, &IsaLevel::scalar, Fn<float>{});
}

// What a limit's loop is called with on one thread.
template <class... Args>
using Operands = std::tuple<typename Python<Args>::type...>;

// The loop with the arguments of each call on a thread of its own: the seconds that they take together, and what each
// returns, None for a loop that returns nothing. Before, each thread calls it once with the arguments in warm_up, if any.
template <class Result, class... Args>
py::tuple run_in_step(Result (*loop)(Args...), const std::vector<Operands<Args...>>& calls,
                      const std::vector<Operands<Args...>>& warm_up) {
    constexpr bool returns = !std::is_void_v<Result>;
    struct Work {
        Result (*loop)(Args...);
        std::vector<std::tuple<Args...>> calls, warm_up;
        std::vector<std::conditional_t<returns, Result, std::optional<int>>> results;

        static std::vector<std::tuple<Args...>> passed(const std::vector<Operands<Args...>>& calls) {
            std::vector<std::tuple<Args...>> all;
            for (const Operands<Args...>& call : calls)
                all.push_back(std::apply(
                    [](const auto&... args) { return std::tuple<Args...>(Python<Args>::pass(args)...); }, call));
            return all;
        }
        static void warm(void* work, index thread) {
            Work& its = *static_cast<Work*>(work);
            if (std::size_t(thread) < its.warm_up.size()) std::apply(its.loop, its.warm_up[std::size_t(thread)]);
        }
        static void run(void* work, index thread) {
            Work& its = *static_cast<Work*>(work);
            const std::tuple<Args...>& call = its.calls[std::size_t(thread)];
            if constexpr (returns)
                its.results[std::size_t(thread)] = std::apply(its.loop, call);
            else
                std::apply(its.loop, call);
        }
    };
    Work work = {loop, Work::passed(calls), Work::passed(warm_up), {}};
    work.results.resize(calls.size());
    double seconds;
    {
        py::gil_scoped_release without_gil;
        seconds = seconds_in_step(index(calls.size()), Work::warm, Work::run, &work);
    }
    return py::make_tuple(seconds, work.results);
}

// in_step[loop](isa, calls, warm_up) for each loop of a limit's list: on the ISA level of this name, whichever is active.
template <template <class> class Fn, class Result, class... Args>
void define_in_step(py::dict& in_step, Rungs<Fn> Kernels::*rungs, Result (*)(Args...)) {
    using Calls = std::vector<Operands<Args...>>;
    const Rungs<Fn> names = isa_levels().front().kernels->*rungs;
    for (index i = 0; i < names.count; ++i)
        in_step[names.first[i].name] = py::cpp_function(
            [=](const std::string& isa, const Calls& calls, const Calls& warm_up) {
                if (calls.empty()) throw py::value_error("calls is empty, expected the arguments of one thread at least");
                const Rung<Fn>& rung = (level_called(isa).kernels->*rungs).first[i];
                const DType dtype = std::get<0>(calls.front()).dtype;
                if (dtype == DType::f32) return run_in_step(rung.f32, calls, warm_up);
                if (dtype == DType::f64) return run_in_step(rung.f64, calls, warm_up);
                throw py::type_error("expected arrays of float32 or float64");
            },
            py::name(names.first[i].name), py::arg("isa"), py::arg("calls"), py::arg("warm_up") = Calls{});
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "The C++ kernels of loopnest: kernels[operation][variant](inputs…, results…).";

    py::dict kernels;
    define(kernels, "matmul", &Kernels::matmul);
    define(kernels, "matmul", &Kernels::matmul_by_blocks);
    define(kernels, "dot", &Kernels::dot);
    define(kernels, "sum", &Kernels::sum);
    define(kernels, "add", &Kernels::add);
    define(kernels, "transpose", &Kernels::transpose);
    define(kernels, "linear", &Kernels::linear);
    define(kernels, "exp", &Kernels::exp);
    define(kernels, "relu", &Kernels::relu);
    define(kernels, "sigmoid", &Kernels::sigmoid);
    define(kernels, "tanh", &Kernels::tanh);
    define(kernels, "softmax", &Kernels::softmax);
    define(kernels, "relu_backward", &Kernels::relu_backward);
    define(kernels, "sigmoid_backward", &Kernels::sigmoid_backward);
    define(kernels, "tanh_backward", &Kernels::tanh_backward);
    define(kernels, "gelu", &Kernels::gelu);
    define(kernels, "gelu_backward", &Kernels::gelu_backward);
    define(kernels, "mse", &Kernels::mse);
    define(kernels, "mse_backward", &Kernels::mse_backward);
    define(kernels, "cross_entropy", &Kernels::cross_entropy);
    define(kernels, "cross_entropy_backward", &Kernels::cross_entropy_backward);
    define(kernels, "sgd", &Kernels::sgd);
    define(kernels, "momentum", &Kernels::momentum);
    define(kernels, "rmsprop", &Kernels::rmsprop);
    define(kernels, "adam", &Kernels::adam);
    define(kernels, "mlp_forward", &Kernels::mlp_forward);
    define(kernels, "mlp_backward", &Kernels::mlp_backward);
    module.attr("kernels") = kernels;
    define_views(module);
    define_fast_path(module);
    define_cache_simulator(module);

    py::dict limits;
    define(limits, "peak", &Kernels::multiply_add_limit);
    define(limits, "read", &Kernels::read_limit);
    define(limits, "copy", &Kernels::copy_limit);
    define(limits, "triad", &Kernels::triad_limit);
    module.attr("limits") = limits;

    py::dict in_step;
    define_in_step(in_step, &Kernels::multiply_add_limit, MultiplyAddFn<float>{});
    define_in_step(in_step, &Kernels::read_limit, ReadFn<float>{});
    define_in_step(in_step, &Kernels::copy_limit, CopyFn<float>{});
    define_in_step(in_step, &Kernels::triad_limit, TriadFn<float>{});
    module.attr("in_step") = in_step;
    module.def("bind_as_thread", &bind_as_thread, py::arg("n"),
               "Bind the calling thread to the processor that seconds_in_step gives the n-th thread; False where none is bound.");
    module.def("chase", [](const Strided& next, index place, index steps) {
        const auto places = Python<Vector<const std::int64_t>>::pass(next);
        py::gil_scoped_release without_gil;
        return chase(places, place, steps);
    }, py::arg("next"), py::arg("place"), py::arg("steps"),
       "Go so many steps from a place on; the last place. See csrc/machine/latency.hpp.");
    module.def("two_cycles", &two_cycles, py::arg("k"), py::arg("steps"), py::call_guard<py::gil_scoped_release>(),
               "Steps of two cycles each.");

    module.def("isa_levels", [] {
        py::list supported;
        for (const IsaLevel& level : isa_levels())
            if (level.supported()) supported.append(level.name);
        return supported;
    }, "The ISA levels that run here, from the oldest to the newest.");
    module.def("isa", [] { return active_isa().name; }, "The ISA level whose kernels run.");
    module.def("set_isa", [](const std::string& name) { set_isa(name); }, py::arg("name"));
    module.def("num_threads", [] { return num_threads(); }, "How many threads one call may use.");
    module.def("set_num_threads", [](index count) { set_num_threads(count); }, py::arg("count"),
               py::call_guard<py::gil_scoped_release>());
    module.def("use_openmp", [](std::uintptr_t parallel, std::uintptr_t max_threads) {
        OpenMP runtime;
        if (parallel && max_threads) {
            runtime.parallel = reinterpret_cast<decltype(runtime.parallel)>(parallel);
            runtime.max_threads = reinterpret_cast<decltype(runtime.max_threads)>(max_threads);
        }
        use_openmp(runtime);
    }, py::arg("parallel"), py::arg("max_threads"), py::call_guard<py::gil_scoped_release>(),
       "Share work among the threads of a loaded OpenMP runtime, given the addresses of its GOMP_parallel and its "
       "omp_get_max_threads; 0 and 0: among our own.");
    module.def("cache_sizes", [] {
        const CacheSizes cache = cache_sizes();
        return py::make_tuple(cache.l1d, cache.l2, cache.l3);
    }, "The sizes of the L1 data, L2 and L3 cache in bytes.");

    module.def("caches", [](const std::string& folder) {
        py::list told;
        for (const Cache& cache : folder.empty() ? caches() : caches(folder))
            told.append(py::make_tuple(cache.level, cache.size, cache.ways, cache.line, cache.processors));
        return told;
    }, py::arg("folder") = "",
       "The data caches that the system tells: level, bytes, ways, bytes of a line, processors that share it.");

    module.def("functions_with_exact_results", &functions_with_exact_results,
               "The functions that errors_in_ulp knows.");
    module.def("errors_in_ulp", [](const std::string& function, const Strided& x, const Strided& y) {
        const auto from = Python<Vector<const float>>::pass(x), to = Python<Vector<const float>>::pass(y);
        Errors errors;
        {
            py::gil_scoped_release without_gil;
            errors = errors_in_ulp(function, from, to);
        }
        return py::make_tuple(errors.largest, errors.at, errors.above_half, errors.above_one, errors.above_two);
    }, py::arg("function"), py::arg("x"), py::arg("y"),
       "The largest error in ULP of y = function(x), where it is, and how many are above 0.5, 1 and 2 ULP.");

    active_isa();  // so that a wrong LOOPNEST_ISA is told at import
}

}  // namespace loopnest
