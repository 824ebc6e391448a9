// The Python module loopnest._core: the kernels, and what they know of the machine.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "bindings/arguments.hpp"
#include "bindings/module.hpp"
#include "dispatch/levels.hpp"
#include "measure/in_step.hpp"
#include "measure/latency.hpp"
#include "runtime/amx.hpp"
#include "runtime/caches.hpp"
#include "runtime/choices.hpp"
#include "runtime/threads.hpp"

namespace py = pybind11;

namespace loopnest {

PYBIND11_MODULE(_core, module) {
    module.doc() = "The C++ kernels of loopnest: kernels[operation][variant](inputs…, results…).";

    define_kernels(module);
    define_views(module);
    define_fast_path(module);
    define_cache_simulator(module);

    module.def("bind_as_thread", &bind_as_thread, py::arg("n"),
               "Bind the calling thread to the processor of thread n in seconds_in_step; False if that is impossible.");
    module.def("chase", [](py::handle next, index place, index steps) {
        const auto places = From<Vector<const std::int64_t>>::python(next);
        py::gil_scoped_release without_gil;
        return chase(places, place, steps);
    }, py::arg("next"), py::arg("place"), py::arg("steps"),
       "Follow next for this many steps; returns the last place. See csrc/measure/latency.hpp.");
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
    module.def("why_no_amx", [] { return why_no_amx(); },
               "Why the rungs on AMX's tiles are emulated here, or None.");
    module.def("emulate_amx", &emulate_amx, py::arg("emulate"), "Emulate the tiles, for tests.");
    module.def("further_instructions", &further_instructions,
               "The instructions beyond the ISA levels that this CPU has and some kernels use, such as 'avx512_bf16'.");
    module.def("kept_choice", &kept_choice, py::arg("name"),
               "What was kept under this name in the user's cache for this kind of processor, or \"\".");
    module.def("keep_choice", &keep_choice, py::arg("name"), py::arg("answer"),
               "Keep an answer for this and later processes; False if the user has no such folder.");
    module.def("num_threads", [] { return num_threads(); }, "How many threads one call may use.");
    module.def("set_num_threads", [](index count) { set_num_threads(count); }, py::arg("count"),
               py::call_guard<py::gil_scoped_release>());
    module.def("use_openmp", [](std::uintptr_t parallel, std::uintptr_t max_threads, std::uintptr_t thread) {
        use_openmp({reinterpret_cast<decltype(OpenMP::parallel)>(parallel),
                    reinterpret_cast<decltype(OpenMP::max_threads)>(max_threads),
                    reinterpret_cast<decltype(OpenMP::thread)>(thread)});
    }, py::arg("parallel") = 0, py::arg("max_threads") = 0, py::arg("thread") = 0,
       py::call_guard<py::gil_scoped_release>(),
       "Share work among the threads of a loaded OpenMP runtime, given the addresses of its GOMP_parallel, "
       "omp_get_max_threads and omp_get_thread_num; without them among our own.");
    module.def("cache_sizes", [] {
        const CacheSizes cache = cache_sizes();
        return py::make_tuple(cache.l1d, cache.l2, cache.l3);
    }, "The sizes of the L1 data, L2 and L3 cache in bytes.");

    module.def("caches", [](const std::string& folder) {
        py::list reported;
        for (const auto [level, size, ways, line, processors] : folder.empty() ? caches() : caches(folder))
            reported.append(py::make_tuple(level, size, ways, line, processors));
        return reported;
    }, py::arg("folder") = "",
       "The data caches that the system reports: level, bytes, ways, bytes of a line, processors that share it.");

    active_isa(), cache_sizes();  // so that a wrong LOOPNEST_ISA or LOOPNEST_CACHES fails at import
}

}  // namespace loopnest
