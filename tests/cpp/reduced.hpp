// Reduced precision: every rung of matmul, and the kernels that take a packed b, on all levels, with emulated tiles.
//
// The elements are small whole numbers, so that all sums are exact, whatever their order, and a result has one right
// value: the sum, rounded once.
#pragma once

#include "products.hpp"
#include "runtime/amx.hpp"

namespace loopnest::tests {

template <class T>
inline constexpr int mantissa = std::is_same_v<T, bfloat16> ? 8 : std::is_same_v<T, float16> ? 11 : 24;  // bits
template <class T>
inline constexpr int exponent_bits = std::is_same_v<T, bfloat16> ? 8 : 5;

// Whole numbers as elements and back, bit by bit.
template <class T>
T element(int value) {
    if constexpr (std::is_same_v<T, std::int8_t>) {
        return T(value);
    } else {
        if (value == 0) return {0};
        const int size = value < 0 ? -value : value, exponent = std::ilogb(size), stored = mantissa<T> - 1;
        const int fraction = (size << (stored - exponent)) - (1 << stored);
        const int biased = exponent + (1 << (exponent_bits<T> - 1)) - 1;
        return {std::uint16_t((value < 0) << 15 | biased << stored | fraction)};
    }
}

template <class T>
double number(T x) {
    if constexpr (sizeof(T) != 2) {
        return double(x);
    } else {
        constexpr int stored = mantissa<T> - 1, ones = (1 << exponent_bits<T>) - 1;
        const int biased = x.bits >> stored & ones, fraction = x.bits & ((1 << stored) - 1);
        if (biased == ones) return std::numeric_limits<double>::quiet_NaN();
        const double size = biased ? std::ldexp(fraction + (1 << stored), biased - ones / 2 - stored) : fraction;
        return x.bits >> 15 ? -size : size;
    }
}

template <class R>
double rounded(double x) {
    if (x == 0 || sizeof(R) == 4) return x;
    const int last = std::ilogb(x) - (mantissa<R> - 1);
    return std::ldexp(std::nearbyint(std::ldexp(x, -last)), last);
}

// How a packed b lies: backends/prepacked.py has the same numbers.
struct PanelLayout {
    index width, group, rows;
    bool sums;
};

template <class T>
PanelLayout layout_for(const Tally& tally, const std::string& variant) {
    const Rung& panel_width = (*tally.level->kernels)[rungs_of<SizeFn>("matmul").lines[0]];
    const index width = panel_width.as<SizeFn>().f32({nullptr, 0, 1});
    const index bytes = sizeof(T), of_words = 4 / bytes;
    if (variant.starts_with("amx")) return {32, of_words, 16 * of_words, false};
    if (variant.starts_with("upcast")) return {width, bytes == 1 ? 2 : 1, bytes == 1 ? 2 : 1, false};
    return {width, of_words, of_words, bytes == 1};
}

template <class T, class R>
void reduced_case(Tally& tally, const ReducedRung& rung, ReducedFn<T, R> kernel, const Input<T>& a, const Input<T>& b,
                  const Grid<double>& exact, const std::string& what) {
    const index m = exact.rows, n = exact.cols, k = b.matrix.rows;
    const std::string variant = rung.variant;
    Array<R> c(m, n, layouts_of_results[(m + n) % 2]);
    const std::vector<char> before = c.bytes();
    running.level = tally.level->name, running.operation = rung.operation, running.rung = rung.variant;
    running.what = what;
    if (variant.ends_with("_prepacked")) {
        const PanelLayout lay = layout_for<T>(tally, variant);
        const index panels = (n + lay.width - 1) / lay.width, size = round_up(k, lay.rows) * lay.width;
        const Input<T> packed(
            panels, size + (lay.sums ? 4 * lay.width : 0), Layout::contiguous, [&](index panel, index at) -> T {
                if (at >= size) {
                    std::int32_t sum = 0;
                    const index j = panel * lay.width + (at - size) / 4;
                    for (index p = 0; p < k && j < n; ++p) sum -= 128 * std::int32_t(number(b.matrix(p, j)));
                    return element<T>(std::int8_t(std::uint32_t(sum) >> 8 * ((at - size) % 4)));
                }
                const index p = at / (lay.width * lay.group) * lay.group + at % lay.group;
                const index j = panel * lay.width + at / lay.group % lay.width;
                return p < k && j < n ? b.matrix(p, j) : element<T>(0);
            });
        kernel(a, packed, c.matrix);
    } else {
        kernel(a, b, c.matrix);
    }
    ++tally.calls;
    std::string wrong;
    for (index i = 0; i < m; ++i)
        for (index j = 0; j < n; ++j) {
            if (const double got = number(c.matrix(i, j)); wrong.empty() && got != rounded<R>(exact(i, j)))
                wrong = text(" c(", i, ", ", j, ") is ", got, ", expected ", rounded<R>(exact(i, j)), ";");
            std::memset(&c.matrix(i, j), 0xa5, sizeof(R));
        }
    if (wrong.empty() && !c.holds(before)) wrong = " it wrote outside of c;";
    if (wrong.empty()) return;
    ++tally.wrong;
    std::printf("%s matmul %s, %s:%s\n", tally.level->name, rung.variant, what.c_str(), wrong.c_str());
}

// All rungs for elements T and results R, of which `instance` is the function.
template <class T, class R>
void reduced(const char* dtype, ReducedFn<T, R> ReducedKernel<ReducedFn>::*instance) {
    index cases = 0;
    running.dtype = dtype;
    for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
        if (cases++ % 3) return;  // emulated tiles take long
        const auto make = [](index, index) { return element<T>(int(random_bits() % 7) - 3); };
        const Input<T> a(m, k, of_a, make), b(k, n, of_b, make);
        const Grid<double> exact = product(grid(m, k, [&](index i, index j) { return number(a.matrix(i, j)); }),
                                           grid(k, n, [&](index i, index j) { return number(b.matrix(i, j)); }));
        for (Tally& tally : tallies)
            for (const ReducedRung& rung : *tally.level->reduced) {
                if (rung.signature != &reduced_signature_id<ReducedFn>) continue;
                if (std::string(rung.operation) != "matmul" || !runs_here(tally.level->name, rung.variant)) continue;
                const ReducedFn<T, R> kernel = rung.as<ReducedFn>().*instance;
                if (!kernel) continue;
                const std::string what = text_of_product(m, k, n, of_a, of_b) + text(", ", dtype);
                emulate_amx(true);
                reduced_case<T, R>(tally, rung, kernel, a, b, exact, what + ", emulated");
                emulate_amx(false);
                if (!why_no_amx() && std::string(rung.variant).starts_with("amx"))
                    reduced_case<T, R>(tally, rung, kernel, a, b, exact, what);
            }
    });
}

inline void reduced() {
    using Kernels = ReducedKernel<ReducedFn>;
    reduced<bfloat16, float>("bfloat16 to float", &Kernels::bf16_to_f32);
    reduced<bfloat16, bfloat16>("bfloat16", &Kernels::bf16);
    reduced<float16, float>("float16 to float", &Kernels::f16_to_f32);
    reduced<float16, float16>("float16", &Kernels::f16);
    reduced<std::int8_t, std::int32_t>("int8", &Kernels::i8_to_i32);
}

}  // namespace loopnest::tests
