// The loops that measure the machine's limits do the work that is timed.
#pragma once

#include "elementwise.hpp"

namespace loopnest::tests {

// With x = y = 1 every multiply-add (or addition, without FMA) adds 1. So `rounds` more rounds add half of the flops
// that they report, in whole numbers that T holds exactly.
template <class T>
void peak(const Rungs<MultiplyAddFn>& rungs) {
    for (index rounds : {1, 2, 100}) {
        Result<T> gained("gained", Layout::contiguous, one<T>({0, 0}));
        hold<T>(
            rungs, text(rounds, " rounds"),
            [&](auto rung) {
                T once[] = {1, 1, 0}, twice[] = {1, 1, 0};
                const index flops = rung({once, 3, 1}, rounds);
                rung({twice, 3, 1}, 2 * rounds);
                *static_cast<T*>(gained) = flops > 0 ? twice[2] - once[2] - T(flops / 2) : T(-1);
            },
            gained);
    }
}

inline constexpr index lengths_to_stream[] = {0, 1, 15, 16, 17, 255, 256, 257, 511, 513, 1025, 2500};
inline constexpr index passes_over[] = {1, 3};

template <class T>
void read(const Rungs<ReadFn>& rungs) {
    for (index n : lengths_to_stream)
        for (index passes : passes_over) {
            const Input<T> x(1, n, Layout::contiguous);
            Wide<T> sum = 0, size = 0;
            for (const Wide<T> element : wide(x).elements) {
                sum += element;
                size += std::abs(element);
            }
            const Wide<T> times = Wide<T>(passes);
            Result<T> result("sum", Layout::contiguous, one<T>({times * sum, gamma<T>(passes * n) * times * size}));
            hold<T>(
                rungs, text("n = ", n, ", ", passes, " passes"),
                [&](auto rung) { *static_cast<T*>(result) = rung(x.vector(), passes); }, result);
        }
}

template <class T>
void copy(const Rungs<CopyFn>& rungs) {
    for (index n : lengths_to_stream)
        for (index passes : passes_over) {
            const Input<T> x(1, n, Layout::contiguous);
            Result<T> y("y", Layout::contiguous, mapped(x, [](Wide<T> element) { return Near<T>{element, 0}; }));
            hold<T>(
                rungs, text("n = ", n, ", ", passes, " passes"), [&](auto rung) { rung(x.vector(), y, passes); }, y);
        }
}

template <class T>
void triad(const Rungs<TriadFn>& rungs) {
    for (index n : lengths_to_stream)
        for (index passes : passes_over) {
            const Input<T> x(1, n, Layout::contiguous), y(1, n, Layout::contiguous);
            const Grid<Wide<T>> wide_x = wide(x), wide_y = wide(y);
            Result<T> z("z", Layout::contiguous, grid(1, n, [&](index i, index j) {
                            const Wide<T> once = wide_x(i, j), thrice = 3 * wide_y(i, j);
                            return Near<T>{once + thrice, gamma<T>(2) * (std::abs(once) + std::abs(thrice))};
                        }));
            hold<T>(
                rungs, text("n = ", n, ", ", passes, " passes"),
                [&](auto rung) { rung(x.vector(), y.vector(), z, passes); }, z);
        }
}

}  // namespace loopnest::tests
