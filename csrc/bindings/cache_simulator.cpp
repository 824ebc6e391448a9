#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <mutex>
#include <tuple>

#include "bindings/arguments.hpp"
#include "bindings/module.hpp"
#include "measure/tracer.hpp"

namespace py = pybind11;

namespace loopnest {
namespace {

using Arrays = std::vector<py::array>;

using Extent = std::pair<const char*, const char*>;
using Levels = std::vector<std::tuple<index, index, index>>;  // size, ways, line

// A matrix; a number is one of a single element.
Matrix<float> matrix(const py::array& x) {
    const Strided array = strided(x);
    float* const data = const_cast<float*>(data_of<const float>(array, array.axes == 0 ? 0 : 2));
    if (array.axes == 0) return {data, 1, 1, 1, 1};
    return {data, array.shape[0], array.shape[1], array.stride(0), array.stride(1)};
}

const TracedRung& rung_of(const std::string& operation, const std::string& variant, const std::string& isa) {
    for (const TracedRung& rung : traced_rungs(isa))
        if (rung.operation == operation && rung.variant == variant) return rung;
    throw std::invalid_argument("no traced rung is called " + operation + " " + variant);
}

// The simulator, and a lock: it changes with every access.
class Simulator {
public:
    explicit Simulator(const Levels& caches) : simulator_(geometries(caches)) {}

    py::array_t<std::uint8_t> access(const py::array_t<std::int64_t, py::array::c_style>& addresses,
                                     const py::array_t<bool, py::array::c_style>& writes) {
        if (addresses.ndim() != 1 || writes.ndim() != 1 || addresses.size() != writes.size())
            throw std::invalid_argument("access: addresses and writes must be as many, and have one axis");
        py::array_t<std::uint8_t> found(addresses.size());
        const std::int64_t* const address = addresses.data();
        std::uint8_t* const to = found.mutable_data();
        py::gil_scoped_release without_gil;
        const std::lock_guard lock(mutex_);
        for (index i = 0; i < addresses.size(); ++i) {
            const Address line = Address(address[i]) >> simulator_.line_bits();
            to[i] = std::uint8_t(simulator_.touch(line, writes.data()[i]));
        }
        return found;
    }

    py::tuple run(const std::string& operation, const std::string& variant, const std::string& isa,
                  const Arrays& operands, const Arrays& memory, std::tuple<index, index, index> blocks, bool record) {
        const TracedRung& rung = rung_of(operation, variant, isa);
        if (index(operands.size()) != rung.operands || operands.size() != memory.size())
            throw std::invalid_argument("operands: expected " + std::to_string(rung.operands) + ", as many of memory");
        if (!operands.back().writeable()) throw py::type_error("a result's array is read-only");
        std::vector<Matrix<float>> matrices;
        std::vector<Access> accesses;
        Tracer tracer(simulator_, record ? &accesses : nullptr);
        for (std::size_t i = 0; i < operands.size(); ++i) {
            const auto [begin, end] = strided(memory[i]).extent();
            const auto [first, last] = strided(operands[i]).extent();
            if (first < begin || last > end) throw std::invalid_argument("operands: not within memory");
            matrices.push_back(matrix(operands[i]));
            tracer.add_operand(begin, end);
        }
        std::vector<index> written_back;
        {
            py::gil_scoped_release without_gil;
            const std::lock_guard lock(mutex_);
            simulator_.forget_written_back();
            const auto [rows, inner, cols] = blocks;
            run_traced(rung, matrices.data(), {rows, inner, cols}, tracer);
            written_back = simulator_.written_back();
        }
        const Counts& counts = tracer.counts();
        const py::array_t<index> found({regions, simulator_.levels() + 1}, {sizeof counts.found[0], sizeof(index)},
                                       counts.found[0]);
        return py::make_tuple(found, std::vector<index>(counts.asked, counts.asked + regions), written_back,
                              py::array_t<Access>(index(accesses.size()), accesses.data()));
    }

    // Every line of the memory, once and in order.
    void read_all(const Arrays& memory) {
        std::vector<Extent> extents;
        for (const py::array& x : memory) extents.push_back(strided(x).extent());
        py::gil_scoped_release without_gil;
        const std::lock_guard lock(mutex_);
        Tracer tracer(simulator_, nullptr);
        for (const auto& [begin, end] : extents) {
            tracer.add_operand(begin, end);
            for (auto at = begin; at < end; at += index(1) << simulator_.line_bits()) tracer.access(at, 1, false);
        }
    }

private:
    static std::vector<CacheGeometry> geometries(const Levels& caches) {
        if (index(caches.size()) > most_levels)
            throw std::invalid_argument("caches: " + std::to_string(caches.size()) + " levels, expected at most " +
                                        std::to_string(most_levels));
        std::vector<CacheGeometry> geometry;
        for (const auto& [size, ways, line] : caches) geometry.push_back({size, ways, line});
        return geometry;
    }

    CacheSimulator simulator_;
    std::mutex mutex_;
};

}  // namespace

void define_cache_simulator(py::module_& module) {
    PYBIND11_NUMPY_DTYPE(Access, address, offset, bytes, region, found, write);
    const py::metaclass plain(reinterpret_cast<PyObject*>(&PyType_Type));  // as its stub says: no static properties
    py::class_<Simulator>(module, "CacheSimulator", plain, "Simulated data caches; see loopnest.layout.traffic.")
        .def(py::init<const Levels&>(), py::arg("caches"))
        .def("access", &Simulator::access, py::arg("addresses"), py::arg("writes"))
        .def("run", &Simulator::run, py::arg("operation"), py::arg("variant"), py::arg("isa"), py::arg("operands"),
             py::arg("memory"), py::arg("blocks"), py::arg("record"))
        .def("read_all", &Simulator::read_all, py::arg("memory"));
    module.def("traced_rungs", [](const std::string& isa) {
        py::list names;
        for (const TracedRung& rung : traced_rungs(isa)) names.append(py::make_tuple(rung.operation, rung.variant));
        return names;
    }, py::arg("isa"), "The operations and variants that CacheSimulator.run knows.");
}

}  // namespace loopnest
