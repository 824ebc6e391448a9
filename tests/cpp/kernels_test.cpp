// Every rung of every table of kernels, on every ISA level that runs here, held to its operation's contract.
//
//     cmake -S . -B build/tests -DLOOPNEST_PYTHON=OFF -DLOOPNEST_CPP_TESTS=ON && cmake --build build/tests
//     build/tests/kernels_test
//
// It needs no Python, so that it runs where only an emulator does: scripts/portability.sh runs it on an x86-64 without AVX
// and on aarch64. Sizes straddle the lanes of all levels, inputs have all layouts. It prints a line for each case that fails
// and one for each level, and exits with 1 if any failed. `kernels_test v4` tests v4 alone, even on a CPU that lacks it;
// `kernels_test levels` only says which levels run here.

#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include "exact.hpp"

namespace loopnest::tests {
namespace {

constexpr index sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65};

// Which layout the second input has beside the first's: over the cases, each meets several.
Layout next(Layout layout, index step = 1) { return layouts[(int(layout) + step) % std::size(layouts)]; }

template <class T>
Grid<Near<T>> one(Near<T> near) {
    return grid(1, 1, [=](index, index) { return near; });
}

// --- elementwise

// Numbers around 0 with some far out, and at the places of the first ones those that are special.
template <class T>
struct Spread {
    double scale;
    bool specials;

    T operator()(index i, index j) const {
        using Limits = std::numeric_limits<T>;
        static constexpr T special[] = {0, -T(0), Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::max(),
                                        -Limits::max(), Limits::min(), -Limits::denorm_min(), 100, -100, -10, -5};
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
    return grid(a.matrix.rows, a.matrix.cols, [&](index i, index j) -> Near<T> {
        return f(Wide<T>(a.matrix(i, j)), Wide<T>(b.matrix(i, j)));
    });
}

// test(rows, cols, layout of the first input, layout of the result)
template <class Test>
void for_elementwise_cases(Test test) {
    for (index cols : sizes)
        for (index rows : {1, 3})
            for (Layout layout : layouts)
                for (Layout of_result : layouts_of_results) test(rows, cols, layout, of_result);
}

template <class T, template <class> class Fn, class F, class... Options>
void unary(Rungs<Fn> Kernels::*rungs, F exact, Options... options) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout of_result) {
        for (double scale : {3., 30.}) {
            const Input<T> x(rows, cols, layout, Spread<T>{scale, scale == 3});
            Result<T> y("y", of_result, mapped(x, [&](Wide<T> at) { return exact(at, options...); }));
            hold<T>(rungs, text(rows, " x ", cols, ", x ", name_of(layout), ", y ", name_of(of_result), ", scale ", scale),
                    [&](auto rung) { rung(x, y, options...); }, y);
        }
    });
}

template <class T, template <class> class Fn, class F, class... Options>
void binary(Rungs<Fn> Kernels::*rungs, F exact, Options... options) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout of_result) {
        for (index step : {0, 3}) {
            const Input<T> a(rows, cols, layout, 3), b(rows, cols, next(layout, step));
            Result<T> c("c", of_result, mapped(a, b, [&](Wide<T> x, Wide<T> y) { return exact(x, y, options...); }));
            hold<T>(rungs, text(rows, " x ", cols, ", inputs ", name_of(layout), " and ", name_of(next(layout, step)),
                                ", c ", name_of(of_result)),
                    [&](auto rung) { rung(a, b, c, options...); }, c);
        }
    });
}

template <class T>
void gelu(Rungs<GeluFn> Kernels::*rungs) {
    for (bool tanh_form : {false, true}) unary<T>(rungs, exact::gelu<T>, tanh_form);
}

template <class T>
void gelu_backward(Rungs<GeluBackwardFn> Kernels::*rungs) {
    for (bool tanh_form : {false, true}) binary<T>(rungs, exact::gelu_backward<T>, tanh_form);
}

template <class T>
void transpose(Rungs<UnaryFn> Kernels::*rungs) {
    for (index rows : {1, 3, 16, 17, 33})
        for_elementwise_cases([&](index, index cols, Layout layout, Layout of_result) {
            const Input<T> a(rows, cols, layout);
            Result<T> b("b", of_result, transposed(mapped(a, [](Wide<T> x) { return Near<T>{x, 0}; })));
            hold<T>(rungs, text(rows, " x ", cols, ", ", name_of(layout)), [&](auto rung) { rung(a, b); }, b);
        });
}

// --- rows

template <class T>
struct SoftmaxRow {
    std::vector<Wide<T>> shifted, p;
    Wide<T> log_total = 0, by_terms = 0;  // the logarithm of the sum of exp(shifted), and its terms' relative errors
};

template <class T>
std::vector<SoftmaxRow<T>> softmax_rows(const Input<T>& x) {
    std::vector<SoftmaxRow<T>> rows(x.matrix.rows);
    for (index i = 0; i < x.matrix.rows; ++i) {
        const Vector<const T> row = x.row(i);
        SoftmaxRow<T>& of = rows[i];
        Wide<T> largest = row[0], total = 0;
        for (index j = 0; j < row.size; ++j) largest = std::fmax(largest, Wide<T>(row[j]));
        for (index j = 0; j < row.size; ++j) {
            of.shifted.push_back(row[j] - largest);
            of.p.push_back(std::exp(of.shifted.back()));
            total += of.p.back();
        }
        for (index j = 0; j < row.size; ++j) {
            of.p[j] /= total;
            of.by_terms += of.p[j] * (std::abs(of.shifted[j]) + 6) * unit_roundoff<T>;
        }
        of.log_total = std::log(total);
    }
    return rows;
}

template <class T>
Near<T> softmax_at(const SoftmaxRow<T>& row, index j) {
    const Wide<T> relative = (std::abs(row.shifted[j]) + 8) * unit_roundoff<T> + row.by_terms + gamma<T>(row.p.size());
    return {row.p[j], relative * row.p[j] + 2 * smallest<T>};
}

template <class T>
void softmax(Rungs<UnaryFn> Kernels::*rungs) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout of_result) {
        for (double scale : {3., 300.}) {
            const Input<T> x(rows, cols, layout, scale);
            const auto exact = softmax_rows(x);
            Result<T> y("y", of_result, grid(rows, cols, [&](index i, index j) { return softmax_at(exact[i], j); }));
            hold<T>(rungs, text(rows, " x ", cols, ", ", name_of(layout)), [&](auto rung) { rung(x, y); }, y);
        }
    });
}

template <class Test>
void for_batches(Test test) {
    for (index classes : sizes)
        for (index batch : {1, 9})
            for (Layout layout : layouts) test(batch, classes, layout);
}

struct Labels : Input<std::int64_t> {
    Labels(index batch, index classes)
        : Input(1, batch, Layout::stepped,
                [=](index, index) { return std::int64_t(random_bits() % std::uint64_t(classes)); }) {}
};

template <class T>
void cross_entropy(Rungs<CrossEntropyFn> Kernels::*rungs) {
    for_batches([&](index batch, index classes, Layout layout) {
        const Input<T> logits(batch, classes, layout, 3);
        const Labels labels(batch, classes);
        const auto rows = softmax_rows(logits);
        Wide<T> loss = 0, terms = 0, by_rows = 0;
        for (index i = 0; i < batch; ++i) {
            const SoftmaxRow<T>& row = rows[i];
            const Wide<T> of_label = row.shifted[labels.vector()[i]];
            loss += row.log_total - of_label;
            terms += std::abs(row.log_total) + std::abs(of_label);
            by_rows += row.by_terms + gamma<T>(classes + 2) +
                       unit_roundoff<T> * (3 * std::abs(row.log_total) + 2 * std::abs(of_label));
        }
        Result<T> result("loss", Layout::contiguous,
                         one<T>({loss / batch, (by_rows + gamma<T>(batch + 2) * terms) / batch}));
        hold<T>(rungs, text(batch, " x ", classes, ", ", name_of(layout)),
                [&](auto rung) { rung(logits, labels.vector(), result); }, result);
    });
}

template <class T>
void cross_entropy_backward(Rungs<CrossEntropyBackwardFn> Kernels::*rungs) {
    for_batches([&](index batch, index classes, Layout layout) {
        const Input<T> logits(batch, classes, layout, 3);
        const Labels labels(batch, classes);
        const auto rows = softmax_rows(logits);
        Result<T> gradient("dlogits", Layout::padded, grid(batch, classes, [&](index i, index j) -> Near<T> {
            const Near<T> p = softmax_at(rows[i], j);
            const Wide<T> value = (p.value - (j == labels.vector()[i])) / batch;
            return {value, p.bound / batch + 4 * unit_roundoff<T> * std::abs(value)};
        }));
        hold<T>(rungs, text(batch, " x ", classes, ", ", name_of(layout)),
                [&](auto rung) { rung(logits, labels.vector(), gradient); }, gradient);
    });
}

// --- reductions

template <class T>
void dot(Rungs<DotFn> Kernels::*rungs) {
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
                hold<T>(rungs, text("n = ", n, ", x ", name_of(of_x), ", y ", name_of(of_y)),
                        [&](auto rung) { rung(x.vector(), y.vector(), result); }, result);
            }
}

template <class T>
void sum(Rungs<SumFn> Kernels::*rungs) {
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
void mse(Rungs<MseFn> Kernels::*rungs) {
    for_elementwise_cases([&](index rows, index cols, Layout layout, Layout) {
        const Input<T> y(rows, cols, layout), t(rows, cols, next(layout));
        Wide<T> sum = 0;
        for (const Near<T>& error : mapped(y, t, [](Wide<T> a, Wide<T> b) { return Near<T>{a - b, 0}; }).elements)
            sum += error.value * error.value;
        const Wide<T> mean = sum / (rows * cols);
        Result<T> result("loss", Layout::contiguous, one<T>({mean, gamma<T>(rows * cols + 3) * mean}));
        hold<T>(rungs, text(rows, " x ", cols, ", ", name_of(layout)), [&](auto rung) { rung(y, t, result); }, result);
    });
}

template <class T>
void mse_backward(Rungs<MseBackwardFn> Kernels::*rungs) {
    const index count = 1000;  // the whole array's elements, of which this is a piece
    binary<T>(rungs, [](Wide<T> y, Wide<T> t, index n) -> Near<T> {
        const Wide<T> value = 2 * (y - t) / n;
        return {value, gamma<T>(4) * std::abs(value) + smallest<T>};
    }, count);
}

// --- products

template <class W>
Grid<W> product(const Grid<W>& a, const Grid<W>& b) {
    Grid<W> c(a.rows, b.cols);
    for (index i = 0; i < a.rows; ++i)
        for (index k = 0; k < a.cols; ++k)
            for (index j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
    return c;
}

template <class W>
Grid<W> size_of(Grid<W> a) {
    for (W& x : a.elements) x = std::abs(x);
    return a;
}

// a b + bias, and γ of the number of terms times the sum of their sizes.
template <class T>
Grid<Near<T>> product_with_bound(const Grid<Wide<T>>& a, const Grid<Wide<T>>& b, const Grid<Wide<T>>* bias = nullptr) {
    const auto exact = product(a, b), size = product(size_of(a), size_of(b));
    return grid(a.rows, b.cols, [&](index i, index j) -> Near<T> {
        const Wide<T> of_bias = bias ? (*bias)(0, j) : 0;
        return {exact(i, j) + of_bias, gamma<T>(a.cols + (bias != nullptr)) * (size(i, j) + std::abs(of_bias))};
    });
}

// test(m, k, n, layout of a, layout of b): small products with every pair of layouts; larger ones, which have edges of
// every kind, more than one block or more than one thread's work, with a few.
template <class Test>
void for_products(Test test) {
    constexpr index shapes[][3] = {
        {1, 1, 1},    {2, 3, 4},    {7, 8, 9},     {1, 17, 16},  {16, 17, 1},  {6, 16, 8},    {8, 9, 15},
        {15, 16, 17}, {17, 15, 33}, {3, 0, 5},     {0, 3, 5},    {5, 3, 0},    {64, 65, 63},  {65, 33, 64},
        {1, 65, 129}, {129, 65, 1}, {13, 300, 67}, {67, 3, 130}, {4, 1100, 9}, {96, 128, 144}};
    for (const auto& [m, k, n] : shapes) {
        const index work = m * k * n;
        for (index i = 0; i < index(std::size(layouts)); ++i)
            for (index step = 0; step < index(std::size(layouts)); ++step)
                if (work < 3000 || (work < 100000 && step == (m + i) % 4) || (i == 2 * step && i <= 2))
                    test(m, k, n, layouts[i], next(layouts[i], step));
    }
}

std::string text_of_product(index m, index k, index n, Layout of_a, Layout of_b) {
    return text(m, " x ", k, " x ", n, ", a ", name_of(of_a), ", b ", name_of(of_b));
}

template <class T>
void matmul(Rungs<BinaryFn> Kernels::*rungs) {
    for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
        const Input<T> a(m, k, of_a), b(k, n, of_b);
        Result<T> c("c", layouts_of_results[(m + n) % 2], product_with_bound<T>(wide(a), wide(b)));
        hold<T>(rungs, text_of_product(m, k, n, of_a, of_b), [&](auto rung) { rung(a, b, c); }, c);
    });
}

template <class T>
void matmul_by_blocks(Rungs<ByBlocksFn> Kernels::*rungs) {
    for (index block : {5, 32})
        for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
            if (of_a == Layout::contiguous || of_b != Layout::contiguous) return;
            const Input<T> a(m, k, of_a), b(k, n, of_b);
            Result<T> c("c", Layout::padded, product_with_bound<T>(wide(a), wide(b)));
            hold<T>(rungs, text_of_product(m, k, n, of_a, of_b) + text(", blocks of ", block),
                    [&](auto rung) { rung(a, b, c, block, block + 1, block + 2); }, c);
        });
}

template <class T>
void linear(Rungs<LinearFn> Kernels::*rungs) {
    for_products([&](index m, index k, index n, Layout of_x, Layout of_w) {
        const Input<T> x(m, k, of_x), w(k, n, of_w), b(1, n, of_x);
        const Grid<Wide<T>> bias = wide(b);
        Result<T> y("y", layouts_of_results[(m + n) % 2], product_with_bound<T>(wide(x), wide(w), &bias));
        hold<T>(rungs, text_of_product(m, k, n, of_x, of_w), [&](auto rung) { rung(x, w, b.vector(), y); }, y);
    });
}

// --- optimizers

template <class T>
Wide<T> roundings(index count, Wide<T> size) {
    return Wide<T>(count) * (unit_roundoff<T> * std::abs(size) + smallest<T>);
}

// The state before the step, its next value and bound from the gradient and the states, element by element.
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
void sgd(Rungs<SgdFn> Kernels::*rungs) {
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
void momentum(Rungs<MomentumFn> Kernels::*rungs) {
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
            return {param(i, j) - step, Wide<T>(lr) * v.bound + roundings<T>(3, std::abs(param(i, j)) + std::abs(step))};
        });
        hold<T>(rungs, text("3 x ", cols, ", ", name_of(of_states)), [&](auto rung) { rung(p, grad, v, lr, mu); }, p, v);
    });
}

template <class T>
void rmsprop(Rungs<RmspropFn> Kernels::*rungs) {
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
        hold<T>(rungs, text("3 x ", cols, ", ", name_of(of_states)),
                [&](auto rung) { rung(p, grad, s, lr, rho, eps); }, p, s);
    });
}

template <class T>
void adam(Rungs<AdamFn> Kernels::*rungs) {
    const double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, correction1 = 0.271, correction2 = 2.997e-3;  // step 3
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
                return {param(i, j) - step, rate * m.bound + roundings<T>(12, step) + roundings<T>(1, param(i, j) - step)};
            });
            hold<T>(rungs, text("3 x ", cols, ", ", name_of(of_states), ", eps inside ", eps_inside), [&](auto rung) {
                rung(p, grad, m, v, lr, beta1, beta2, eps, correction1, correction2, eps_inside);
            }, p, m, v);
        });
}

// --- the MLP

// test(t, d, h, e, layout, tanh_form)
template <class Test>
void for_mlps(Test test) {
    constexpr index shapes[][4] = {{1, 1, 1, 1}, {3, 4, 5, 2}, {8, 7, 9, 16}, {17, 16, 33, 15}, {9, 40, 130, 36}};
    for (const auto& [t, d, h, e] : shapes)
        for (Layout layout : layouts)
            for (bool tanh_form : {false, true}) test(t, d, h, e, layout, tanh_form);
}

template <class T>
void mlp_forward(Rungs<MlpForwardFn> Kernels::*rungs) {
    for_mlps([&](index t, index d, index h, index e, Layout layout, bool tanh_form) {
        const Input<T> x(t, d, layout), w1(d, h, next(layout), 0.5), b1(1, h, layout), w2(h, e, next(layout, 2), 0.3);
        const Input<T> b2(1, e, next(layout));
        const Grid<Wide<T>> bias1 = wide(b1), bias2 = wide(b2);

        const auto z = product_with_bound<T>(wide(x), wide(w1), &bias1);
        const auto hidden = grid(t, h, [&](index i, index j) -> Near<T> {  // |gelu'| < 1.13
            const Near<T> at = exact::gelu<T>(z(i, j).value, tanh_form);
            return {at.value, 1.13 * z(i, j).bound + at.bound};
        });
        const auto value = grid(t, h, [&](index i, index j) { return hidden(i, j).value; });
        const auto error = grid(t, h, [&](index i, index j) { return hidden(i, j).bound; });
        const auto y = product_with_bound<T>(value, wide(w2), &bias2);
        const auto passed_on = product(error, size_of(wide(w2)));

        Result<T> z_result("z", Layout::contiguous, z), h_result("h", Layout::contiguous, hidden);
        Result<T> y_result("y", Layout::contiguous, grid(t, e, [&](index i, index j) -> Near<T> {
            return {y(i, j).value, y(i, j).bound + (1 + gamma<T>(h + 1)) * passed_on(i, j)};
        }));
        hold<T>(rungs, text(t, " x ", d, " x ", h, " x ", e, ", x ", name_of(layout), tanh_form ? ", tanh form" : ""),
                [&](auto rung) { rung(x, w1, b1.vector(), w2, b2.vector(), z_result, h_result, y_result, tanh_form); },
                z_result, h_result, y_result);
    });
}

// The product of a factor that is known within bounds and one that is known.
template <class T>
Grid<Near<T>> product_with_bound(const Grid<Near<T>>& a, const Grid<Wide<T>>& b) {
    const auto value = grid(a.rows, a.cols, [&](index i, index j) { return a(i, j).value; });
    const auto error = grid(a.rows, a.cols, [&](index i, index j) { return a(i, j).bound; });
    const auto exact = product_with_bound<T>(value, b);
    const auto passed_on = product(error, size_of(b));
    return grid(a.rows, b.cols, [&](index i, index j) -> Near<T> {
        return {exact(i, j).value, exact(i, j).bound + (1 + gamma<T>(a.cols)) * passed_on(i, j)};
    });
}

template <class T>
void mlp_backward(Rungs<MlpBackwardFn> Kernels::*rungs) {
    for_mlps([&](index t, index d, index h, index e, Layout layout, bool tanh_form) {
        const Input<T> dy(t, e, layout), x(t, d, next(layout)), w1(d, h, layout, 0.5), w2(h, e, next(layout, 2), 0.3);
        const Input<T> z(t, h, Layout::contiguous, 2), hidden(t, h, Layout::contiguous);

        const auto dh = product_with_bound<T>(wide(dy), transposed(wide(w2)));
        const auto dz = grid(t, h, [&](index i, index j) -> Near<T> {
            const Near<T> slope = exact::gelu_backward<T>(z.matrix(i, j), 1, tanh_form);
            const Wide<T> value = dh(i, j).value * slope.value, size = std::abs(dh(i, j).value) + dh(i, j).bound;
            return {value, size * slope.bound + dh(i, j).bound * std::abs(slope.value) + gamma<T>(2) * std::abs(value)};
        });
        const Grid<Wide<T>> ones = grid(t, 1, [](index, index) { return Wide<T>(1); });

        Result<T> dx("dx", Layout::contiguous, product_with_bound<T>(dz, transposed(wide(w1))));
        Result<T> dw1("dw1", Layout::contiguous, transposed(product_with_bound<T>(transposed(dz), wide(x))));
        Result<T> db1("db1", Layout::contiguous, transposed(product_with_bound<T>(transposed(dz), ones)));
        Result<T> dw2("dw2", Layout::contiguous, product_with_bound<T>(transposed(wide(hidden)), wide(dy)));
        Result<T> db2("db2", Layout::contiguous, product_with_bound<T>(transposed(ones), wide(dy)));
        hold<T>(rungs, text(t, " x ", d, " x ", h, " x ", e, ", x ", name_of(layout), tanh_form ? ", tanh form" : ""),
                [&](auto rung) { rung(dy, x, w1, w2, z, hidden, dx, dw1, db1, dw2, db2, tanh_form); },
                dx, dw1, db1, dw2, db2);
    });
}

// --- all of them

struct Operation {
    const char* name;
    void (*test)();
};

#define OPERATION(name) \
    {#name, [] { name<float>(&Kernels::name); name<double>(&Kernels::name); }}
#define ELEMENTWISE(name, arity) \
    {#name, [] { arity<float>(&Kernels::name, exact::name<float>); arity<double>(&Kernels::name, exact::name<double>); }}

constexpr Operation operations[] = {
    OPERATION(matmul),
    OPERATION(matmul_by_blocks),
    OPERATION(dot),
    OPERATION(sum),
    ELEMENTWISE(add, binary),
    OPERATION(transpose),
    OPERATION(linear),
    ELEMENTWISE(relu, unary),
    ELEMENTWISE(sigmoid, unary),
    ELEMENTWISE(tanh, unary),
    OPERATION(softmax),
    ELEMENTWISE(relu_backward, binary),
    ELEMENTWISE(sigmoid_backward, binary),
    ELEMENTWISE(tanh_backward, binary),
    OPERATION(gelu),
    OPERATION(gelu_backward),
    OPERATION(mse),
    OPERATION(mse_backward),
    OPERATION(cross_entropy),
    OPERATION(cross_entropy_backward),
    OPERATION(sgd),
    OPERATION(momentum),
    OPERATION(rmsprop),
    OPERATION(adam),
    OPERATION(mlp_forward),
    OPERATION(mlp_backward),
};
static_assert(sizeof(Kernels) == std::size(operations) * sizeof(Rungs<UnaryFn>), "each list of Kernels has its line here");

// A level is forced or refused as the CPU has it, and what was forced is active. Returns how many levels did otherwise.
int wrong_dispatches() {
    int wrong = 0;
    const std::string usual = active_isa().name;
    for (const IsaLevel& level : isa_levels()) {
        bool refused = false;
        try {
            set_isa(level.name);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        if (refused == level.supported() || (!refused && active_isa().name != std::string(level.name))) {
            ++wrong;
            std::printf("set_isa(\"%s\") %s\n", level.name, refused ? "is refused" : "has not made it active");
        }
        set_isa(usual);
    }
    return wrong;
}

// A kernel holds none of stdio's locks, so it may be used here.
extern "C" void killed_by(int signal) {
    std::printf("%s in %s %s.%s, %s, %s\n", signal == SIGILL ? "illegal instruction" : "memory access violation", running.level,
                running.operation, running.rung, running.dtype, running.what.c_str());
    std::fflush(stdout);
    std::_Exit(128 + signal);
}

int test(int count, char** chosen) {
    const bool only_levels = count == 1 && std::string(chosen[0]) == "levels";
    std::string all, here;
    for (const IsaLevel& level : isa_levels()) {
        all += text(" ", level.name);
        if (level.supported()) here += text(" ", level.name);
        bool tested = count == 0 && level.supported();
        for (int i = 0; i < count; ++i) tested |= chosen[i] == std::string(level.name);
        if (tested) tallies.push_back({&level});
    }
    std::printf("levels:%s; run here:%s; active: %s\n", all.c_str(), here.c_str(), active_isa().name);
    if (only_levels) return 0;
    if (tallies.size() < std::size_t(count)) throw std::invalid_argument("expected names of levels");

    long wrong = wrong_dispatches();
    for (int signal : {SIGILL, SIGSEGV, SIGBUS}) std::signal(signal, killed_by);
    for (const Operation& operation : operations) {
        running.operation = operation.name;
        const long calls = tallies[0].calls;
        operation.test();
        if (tallies[0].calls == calls) {
            ++wrong;
            std::printf("%s has no rung\n", operation.name);
        }
    }
    for (const Tally& tally : tallies) {
        wrong += tally.wrong;
        std::printf("%s: %ld calls, %ld wrong\n", tally.level->name, tally.calls, tally.wrong);
    }
    return wrong ? 1 : 0;
}

}  // namespace
}  // namespace loopnest::tests

int main(int count, char** arguments) {
    try {
        return loopnest::tests::test(count - 1, arguments + 1);
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "%s\n", wrong.what());
        return 2;
    }
}
