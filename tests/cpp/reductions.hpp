// Sums over all elements, and the mean squared error with its gradient.
#pragma once

#include "elementwise.hpp"

namespace loopnest::tests {

template <class T>
void dot(const Rungs<DotFn>& rungs) {
    for (index n : {0, 1, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 127, 128, 129, 257, 1000})
        for (Layout of_x : {Layout::contiguous, Layout::stepped, Layout::negative, Layout::repeated_column})
            for (Layout of_y : {Layout::contiguous, Layout::negative}) {
                const Input<T> x(1, n, of_x), y(1, n, of_y);
                Wide<T> sum = 0, size = 0;
                for (index i = 0; i < n; ++i) {
                    const Wide<T> product = Wide<T>(x.vector()[i]) * y.vector()[i];
                    sum += product;
                    size += std::abs(product);
                }
                Result<T> result("sum", Layout::contiguous, one<T>({sum, gamma<T>(n) * size}));
                hold<T>(
                    rungs, text("n = ", n, ", x ", name_of(of_x), ", y ", name_of(of_y)),
                    [&](auto rung) { rung(x.vector(), y.vector(), result); }, result);
            }
}

template <class T>
void sum(const Rungs<SumFn>& rungs) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout) {
        const Input<T> a(rows, cols, layout);
        Wide<T> sum = 0, size = 0;
        for (const Wide<T> x : wide(a).elements) {
            sum += x;
            size += std::abs(x);
        }
        Result<T> result("sum", Layout::contiguous, one<T>({sum, gamma<T>(rows * cols - 1) * size}));
        hold<T>(rungs, text(rows, " x ", cols, ", ", name_of(layout)), [&](auto rung) { rung(a, result); }, result);
    });
}

template <class T>
void mse(const Rungs<MseFn>& rungs) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout) {
        const Input<T> y(rows, cols, layout), t(rows, cols, next(layout));
        Wide<T> sum = 0;
        for (const Near<T>&error : mapped(y, t, [](Wide<T> a, Wide<T> b) { return Near<T>{a - b, 0}; }).elements)
            sum += error.value * error.value;
        const Wide<T> mean = sum / (rows * cols);
        Result<T> result("loss", Layout::contiguous, one<T>({mean, gamma<T>(rows * cols + 3) * mean}));
        hold<T>(rungs, text(rows, " x ", cols, ", ", name_of(layout)), [&](auto rung) { rung(y, t, result); }, result);
    });
}

template <class T>
void mse_backward(const Rungs<MseBackwardFn>& rungs) {
    const index count = 1000;  // elements of the whole array; y is a piece of it
    binary<T>(
        rungs,
        [](Wide<T> y, Wide<T> t, index n) -> Near<T> {
            const Wide<T> value = 2 * (y - t) / n;
            return {value, gamma<T>(4) * std::abs(value) + smallest<T>};
        },
        count);
}

}  // namespace loopnest::tests
