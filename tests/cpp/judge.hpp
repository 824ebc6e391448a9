// The judge: rungs on every ISA level that is tested, against exact results and a bound for each.
#pragma once

#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "arrays.hpp"
#include "dispatch/levels.hpp"

namespace loopnest::tests {

// References are computed in a precision in which the rounding errors of T are visible.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

template <class T>
inline constexpr Wide<T> unit_roundoff = std::numeric_limits<T>::epsilon() / 2;
template <class T>
inline constexpr Wide<T> smallest = std::numeric_limits<T>::denorm_min();

// The relative error of k roundings in a row (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
template <class T>
Wide<T> gamma(index k) {
    const Wide<T> ku = Wide<T>(k) * unit_roundoff<T>;
    return ku / (1 - ku);
}

// What the reference's own roundings add to a bound: almost nothing, unless long double is as wide as double.
template <class T>
inline constexpr Wide<T> with_reference_error =
    1 + 4 * Wide<T>(std::numeric_limits<Wide<T>>::epsilon()) / std::numeric_limits<T>::epsilon();

template <class E>
struct Grid {
    index rows = 0, cols = 0;
    std::vector<E> elements = {};

    Grid(index rows, index cols) : rows(rows), cols(cols), elements(std::size_t(rows * cols)) {}
    E& operator()(index i, index j) { return elements[std::size_t(i * cols + j)]; }
    const E& operator()(index i, index j) const { return elements[std::size_t(i * cols + j)]; }
};

// A grid of make(i, j).
template <class Make>
auto grid(index rows, index cols, Make make) {
    Grid<std::decay_t<decltype(make(index(0), index(0)))>> made(rows, cols);
    for (index i = 0; i < rows; ++i)
        for (index j = 0; j < cols; ++j) made(i, j) = make(i, j);
    return made;
}

template <class T>
Grid<Wide<T>> wide(const Array<T>& array) {
    const Matrix<T> matrix = array.matrix;
    return grid(matrix.rows, matrix.cols, [=](index i, index j) { return Wide<T>(matrix(i, j)); });
}

template <class W>
Grid<W> transposed(const Grid<W>& a) {
    return grid(a.cols, a.rows, [&](index i, index j) { return a(j, i); });
}

template <class... Parts>
std::string text(const Parts&... parts) {
    std::ostringstream stream;
    stream.precision(std::numeric_limits<double>::max_digits10);
    (stream << ... << parts);
    return stream.str();
}

// A value, and the largest error that a rung's value may have.
template <class T>
struct Near {
    Wide<T> value, bound;
};

// An array that a rung fills or updates, and its expected values.
template <class T>
struct Result {
    const char* name;
    Array<T> array;
    Grid<T> before;  // NaN if a rung only writes it, so that a missed element fails
    Grid<Near<T>> expected;

    Result(const char* name, Layout layout, Grid<Near<T>> expected)
        : Result(name, layout, std::move(expected), [](index, index) { return std::numeric_limits<T>::quiet_NaN(); }) {}
    template <class Make>
    Result(const char* name, Layout layout, Grid<Near<T>> expected, Make make_before)
        : name(name),
          array(expected.rows, expected.cols, layout),
          before(grid(expected.rows, expected.cols, make_before)),
          expected(std::move(expected)) {
        restore();
        pages_ = array.bytes();
    }

    operator Matrix<T>() const { return array.matrix; }
    operator Vector<T>() const { return array.vector(); }
    operator T*() const { return array.matrix.data; }

    void restore() { array.fill(before); }

    // Describes what is wrong after a call (empty: nothing), and restores the array.
    std::string verdict() {
        std::string wrong;
        for (index i = 0; i < expected.rows && wrong.empty(); ++i)
            for (index j = 0; j < expected.cols && wrong.empty(); ++j) {
                const Wide<T> got = array.matrix(i, j), exact = expected(i, j).value;
                const Wide<T> bound = expected(i, j).bound * with_reference_error<T>;
                if (got == exact || (got != got && exact != exact) || std::abs(got - exact) <= bound) continue;
                wrong = text(" ", name, "(", i, ", ", j, ") is ", got, ", expected ", exact, " within ", bound, ";");
            }
        restore();
        if (wrong.empty() && !array.holds(pages_)) wrong = text(" it wrote outside of ", name, ";");
        return wrong;
    }

  private:
    std::vector<char> pages_;
};

struct Tally {
    const IsaLevel* level;
    long calls = 0, wrong = 0;
};

inline std::vector<Tally> tallies;  // of the levels that are tested

// The running call, for the message if it kills the process.
inline struct {
    const char *level, *operation, *rung, *dtype;
    std::string what;
} running;

// Whether this CPU has the instructions beyond a level that some kernels use.
inline bool runs_here(const char* level, const std::string& variant) {
    const auto needs = [&](const char* kernels, const char* instructions) {
        if (!variant.starts_with(kernels)) return false;
        for (const std::string& found : further_instructions())
            if (found == instructions) return false;
        return level == std::string("v4");  // elsewhere they are written out
    };
    return !needs("dot_pairs", "avx512_bf16") && !needs("dot_quads", "avx512_vnni") && !needs("halves", "avx512_fp16");
}

// The lines of rungs.def with one operation and signature.
template <template <class> class Fn>
struct Rungs {
    std::vector<std::size_t> lines;
};

template <template <class> class Fn>
Rungs<Fn> rungs_of(const char* operation) {
    Rungs<Fn> rungs;
    const Table& table = *isa_levels().front().kernels;
    for (std::size_t line = 0; line < table.size(); ++line)
        if (!std::strcmp(table[line].operation, operation) && table[line].signature == &signature_id<Fn>)
            rungs.lines.push_back(line);
    return rungs;
}

inline std::vector<bool> tested_lines(isa_levels().front().kernels->size());

// Compares the rungs of type T on all levels with the results; call(rung) runs a rung on the case's arrays.
template <class T, template <class> class Fn, class Call, class... Results>
void hold(const Rungs<Fn>& rungs, const std::string& what, Call call, Results&... results) {
    running.what = what;
    running.dtype = std::is_same_v<T, float> ? "float" : "double";
    for (Tally& tally : tallies)
        for (const std::size_t line : rungs.lines) {
            const Rung& rung = (*tally.level->kernels)[line];
            const Kernel<Fn>& kernel = rung.template as<Fn>();
            tested_lines[line] = true;
            if (!runs_here(tally.level->name, rung.variant)) continue;
            running.level = tally.level->name;
            running.operation = rung.operation;
            running.rung = rung.variant;
            if constexpr (std::is_same_v<T, float>)
                call(kernel.f32);
            else
                call(kernel.f64);
            ++tally.calls;
            std::string wrong;
            ((wrong += results.verdict()), ...);
            if (wrong.empty()) continue;
            ++tally.wrong;
            std::printf("%s %s.%s, %s, %s:%s\n", running.level, running.operation, running.rung, running.dtype,
                        what.c_str(), wrong.c_str());
        }
}

}  // namespace loopnest::tests
