// Elementwise operations, and transpose.
#pragma once

#include "cases.hpp"
#include "exact.hpp"

namespace loopnest::tests {

// Numbers around 0 and a few far out; the first ones are special values.
template <class T>
struct Spread {
    double scale;
    bool specials;

    T operator()(index i, index j) const {
        using Limits = std::numeric_limits<T>;
        static constexpr T special[] = {0,
                                        -T(0),
                                        Limits::infinity(),
                                        -Limits::infinity(),
                                        Limits::quiet_NaN(),
                                        Limits::max(),
                                        -Limits::max(),
                                        Limits::min(),
                                        -Limits::denorm_min(),
                                        100,
                                        -100,
                                        -10,
                                        -5};
        if (specials && (i + j) % 5 == 4) return special[(i + j) / 5 % std::size(special)];
        return T(scale * random_normal());
    }
};

template <class T, class F>
Grid<Near<T>> mapped(const Array<T>& x, F f) {
    return grid(x.matrix.rows, x.matrix.cols, [&](index i, index j) -> Near<T> { return f(Wide<T>(x.matrix(i, j))); });
}

template <class T, class F>
Grid<Near<T>> mapped(const Array<T>& a, const Array<T>& b, F f) {
    return grid(a.matrix.rows, a.matrix.cols,
                [&](index i, index j) -> Near<T> { return f(Wide<T>(a.matrix(i, j)), Wide<T>(b.matrix(i, j))); });
}

// test(rows, cols, layout of the first input, layout of the result)
template <class Test>
void for_elementwise_cases(Test test) {
    Chosen chosen;
    for (index cols : sizes)
        for (index rows : {1, 3})
            for (Layout layout : layouts)
                for (Layout of_result : layouts_of_results)
                    if (chosen()) test(rows, cols, layout, of_result);
}

template <class T, template <class> class Fn, class F, class... Options>
void unary(const Rungs<Fn>& rungs, F exact, Options... options) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout of_result) {
        for (double scale : {3., 30.}) {
            const Input<T> x(rows, cols, layout, Spread<T>{scale, scale == 3});
            Result<T> y("y", of_result, mapped(x, [&](Wide<T> at) { return exact(at, options...); }));
            hold<T>(
                rungs, text(rows, " x ", cols, ", x ", name_of(layout), ", y ", name_of(of_result), ", scale ", scale),
                [&](auto rung) { rung(x, y, options...); }, y);
        }
    });
}

template <class T, template <class> class Fn, class F, class... Options>
void binary(const Rungs<Fn>& rungs, F exact, Options... options) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout of_result) {
        for (index step : {0, 3}) {
            const Input<T> a(rows, cols, layout, 3), b(rows, cols, next(layout, step));
            Result<T> c("c", of_result, mapped(a, b, [&](Wide<T> x, Wide<T> y) { return exact(x, y, options...); }));
            hold<T>(
                rungs,
                text(rows, " x ", cols, ", inputs ", name_of(layout), " and ", name_of(next(layout, step)), ", c ",
                     name_of(of_result)),
                [&](auto rung) { rung(a, b, c, options...); }, c);
        }
    });
}

template <class T>
void gelu(const Rungs<GeluFn>& rungs) {
    for (bool tanh_form : {false, true}) unary<T>(rungs, exact::gelu<T>, tanh_form);
}

template <class T>
void gelu_backward(const Rungs<GeluBackwardFn>& rungs) {
    for (bool tanh_form : {false, true}) binary<T>(rungs, exact::gelu_backward<T>, tanh_form);
}

template <class T>
void transpose(const Rungs<UnaryFn>& rungs) {
    for (index rows : {1, 3, 16, 17, 33})
        for_elementwise_cases([&](index, index cols, Layout layout, Layout of_result) {
            const Input<T> a(rows, cols, layout);
            Result<T> b("b", of_result, transposed(mapped(a, [](Wide<T> x) { return Near<T>{x, 0}; })));
            hold<T>(rungs, text(rows, " x ", cols, ", ", name_of(layout)), [&](auto rung) { rung(a, b); }, b);
        });
}

}  // namespace loopnest::tests
