// Steps in place: states of any layout, updated element by element.
#pragma once

#include "cases.hpp"

namespace loopnest::tests {

template <class T>
Wide<T> roundings(index count, Wide<T> size) {
    return Wide<T>(count) * (unit_roundoff<T> * std::abs(size) + smallest<T>);
}

// A state before the step; its next value and bound follow from the gradient and the states.
template <class T>
struct State : Result<T> {
    template <class Next>
    State(const char* name, Layout layout, const Grid<T>& before, Next next)
        : Result<T>(name, layout, grid(before.rows, before.cols, next),
                    [&](index i, index j) { return before(i, j); }) {}
};

template <class T>
Grid<T> random_state(index rows, index cols, bool positive = false) {
    return grid(rows, cols, [=](index, index) { return T(positive ? std::abs(random_normal()) : random_normal()); });
}

// test(rows, cols, layout of the states, layout of the gradient)
template <class Test>
void for_steps(Test test) {
    for (index cols : sizes)
        for (Layout of_states : layouts_of_states)
            for (index step : {0, 4}) test(3, cols, of_states, next(of_states, step));
}

template <class T>
void sgd(const Rungs<SgdFn>& rungs) {
    const double lr = 0.1;
    for_steps([&](index rows, index cols, Layout of_states, Layout of_gradient) {
        const Input<T> grad(rows, cols, of_gradient);
        const Grid<T> param = random_state<T>(rows, cols);
        State<T> p("param", of_states, param, [&](index i, index j) -> Near<T> {
            const Wide<T> step = Wide<T>(lr) * grad.matrix(i, j);
            return {param(i, j) - step, roundings<T>(3, std::abs(param(i, j)) + std::abs(step))};
        });
        hold<T>(rungs, text("3 x ", cols, ", ", name_of(of_states)), [&](auto rung) { rung(p, grad, lr); }, p);
    });
}

template <class T>
void momentum(const Rungs<MomentumFn>& rungs) {
    const double lr = 0.1, mu = 0.9;
    for_steps([&](index rows, index cols, Layout of_states, Layout of_gradient) {
        const Input<T> grad(rows, cols, of_gradient);
        const Grid<T> param = random_state<T>(rows, cols), velocity = random_state<T>(rows, cols);
        const auto next_velocity = [&](index i, index j) -> Near<T> {
            const Wide<T> kept = Wide<T>(mu) * velocity(i, j), g = grad.matrix(i, j);
            return {kept + g, roundings<T>(3, std::abs(kept) + std::abs(g))};
        };
        State<T> v("velocity", of_states, velocity, next_velocity);
        State<T> p("param", of_states, param, [&](index i, index j) -> Near<T> {
            const Near<T> v = next_velocity(i, j);
            const Wide<T> step = Wide<T>(lr) * v.value;
            return {param(i, j) - step,
                    Wide<T>(lr) * v.bound + roundings<T>(3, std::abs(param(i, j)) + std::abs(step))};
        });
        hold<T>(
            rungs, text("3 x ", cols, ", ", name_of(of_states)), [&](auto rung) { rung(p, grad, v, lr, mu); }, p, v);
    });
}

template <class T>
void rmsprop(const Rungs<RmspropFn>& rungs) {
    const double lr = 0.1, rho = 0.9, eps = 1e-8;
    for_steps([&](index rows, index cols, Layout of_states, Layout of_gradient) {
        const Input<T> grad(rows, cols, of_gradient);
        const Grid<T> param = random_state<T>(rows, cols), average = random_state<T>(rows, cols, true);
        const auto next_average = [&](index i, index j) -> Near<T> {
            const Wide<T> g = grad.matrix(i, j), s = Wide<T>(rho) * average(i, j) + (1 - Wide<T>(rho)) * g * g;
            return {s, roundings<T>(5, s)};
        };
        State<T> s("square_average", of_states, average, next_average);
        State<T> p("param", of_states, param, [&](index i, index j) -> Near<T> {
            const Wide<T> step = Wide<T>(lr) * grad.matrix(i, j) / (std::sqrt(next_average(i, j).value) + Wide<T>(eps));
            return {param(i, j) - step, roundings<T>(10, step) + roundings<T>(1, param(i, j) - step)};
        });
        hold<T>(
            rungs, text("3 x ", cols, ", ", name_of(of_states)), [&](auto rung) { rung(p, grad, s, lr, rho, eps); }, p,
            s);
    });
}

template <class T>
void adam(const Rungs<AdamFn>& rungs) {
    const double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, correction1 = 0.271,
                 correction2 = 2.997e-3;  // step 3
    for (bool eps_inside : {false, true})
        for_steps([&](index rows, index cols, Layout of_states, Layout of_gradient) {
            const Input<T> grad(rows, cols, of_gradient);
            const Grid<T> param = random_state<T>(rows, cols), mean = random_state<T>(rows, cols);
            const Grid<T> square = random_state<T>(rows, cols, true);
            const auto next_mean = [&](index i, index j) -> Near<T> {
                const Wide<T> kept = Wide<T>(beta1) * mean(i, j), added = (1 - Wide<T>(beta1)) * grad.matrix(i, j);
                return {kept + added, roundings<T>(3, std::abs(kept) + std::abs(added))};
            };
            const auto next_square = [&](index i, index j) -> Near<T> {
                const Wide<T> g = grad.matrix(i, j), v = Wide<T>(beta2) * square(i, j) + (1 - Wide<T>(beta2)) * g * g;
                return {v, roundings<T>(5, v)};
            };
            State<T> m("m", of_states, mean, next_mean), v("v", of_states, square, next_square);
            State<T> p("param", of_states, param, [&](index i, index j) -> Near<T> {
                const Near<T> m = next_mean(i, j);
                const Wide<T> corrected = next_square(i, j).value / Wide<T>(correction2), e = eps;
                const Wide<T> divisor = eps_inside ? std::sqrt(corrected + e) : std::sqrt(corrected) + e;
                const Wide<T> rate = Wide<T>(lr) / Wide<T>(correction1) / divisor, step = rate * m.value;
                return {param(i, j) - step,
                        rate * m.bound + roundings<T>(12, step) + roundings<T>(1, param(i, j) - step)};
            });
            hold<T>(
                rungs, text("3 x ", cols, ", ", name_of(of_states), ", eps inside ", eps_inside),
                [&](auto rung) { rung(p, grad, m, v, lr, beta1, beta2, eps, correction1, correction2, eps_inside); }, p,
                m, v);
        });
}

}  // namespace loopnest::tests
