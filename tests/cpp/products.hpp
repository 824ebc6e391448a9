// Matrix products, and the MLP, which consists of them.
#pragma once

#include "cases.hpp"
#include "exact.hpp"

namespace loopnest::tests {

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

// a b + bias, with the bound γ(terms) Σ |term|.
template <class T>
Grid<Near<T>> product_with_bound(const Grid<Wide<T>>& a, const Grid<Wide<T>>& b, const Grid<Wide<T>>* bias = nullptr) {
    const auto exact = product(a, b), size = product(size_of(a), size_of(b));
    return grid(a.rows, b.cols, [&](index i, index j) -> Near<T> {
        const Wide<T> of_bias = bias ? (*bias)(0, j) : 0;
        return {exact(i, j) + of_bias, gamma<T>(a.cols + (bias != nullptr)) * (size(i, j) + std::abs(of_bias))};
    });
}

// The same for an a that has bounds itself.
template <class T>
Grid<Near<T>> product_with_bound(const Grid<Near<T>>& a, const Grid<Wide<T>>& b, const Grid<Wide<T>>* bias = nullptr) {
    const auto value = grid(a.rows, a.cols, [&](index i, index j) { return a(i, j).value; });
    const auto error = grid(a.rows, a.cols, [&](index i, index j) { return a(i, j).bound; });
    const auto exact = product_with_bound<T>(value, b, bias);
    const auto passed_on = product(error, size_of(b));
    return grid(a.rows, b.cols, [&](index i, index j) -> Near<T> {
        return {exact(i, j).value, exact(i, j).bound + (1 + gamma<T>(a.cols + 1)) * passed_on(i, j)};
    });
}

// test(m, k, n, layout of a, layout of b): small products with every pair of layouts, large ones with a few. Large ones
// have all kinds of edges, several blocks, and work for several threads.
template <class Test>
void for_products(Test test) {
    constexpr index shapes[][3] = {
        {1, 1, 1},    {2, 3, 4},    {7, 8, 9},     {1, 17, 16},  {16, 17, 1},  {6, 16, 8},     {8, 9, 15},
        {15, 16, 17}, {17, 15, 33}, {3, 0, 5},     {0, 3, 5},    {5, 3, 0},    {64, 65, 63},   {65, 33, 64},
        {1, 65, 129}, {129, 65, 1}, {13, 300, 67}, {67, 3, 130}, {4, 1100, 9}, {33, 1100, 34}, {96, 128, 144},
        {1, 70, 1100}, {3, 9, 1100},  {2, 1100, 5},  {7, 1100, 9}, {1100, 2, 21}, {8, 70, 130}};
    Chosen chosen;
    for (const auto& [m, k, n] : shapes) {
        const index work = m * k * n;
        for (index i = 0; i < index(std::size(layouts)); ++i)
            for (index step = 0; step < index(std::size(layouts)); ++step)
                if ((work < 3000 || (work < 100000 && step == (m + i) % 4) || (i == 2 * step && i <= 2)) && chosen())
                    test(m, k, n, layouts[i], next(layouts[i], step));
    }
}

inline std::string text_of_product(index m, index k, index n, Layout of_a, Layout of_b) {
    return text(m, " x ", k, " x ", n, ", a ", name_of(of_a), ", b ", name_of(of_b));
}

template <class T>
void matmul(const Rungs<BinaryFn>& rungs) {
    for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
        const Input<T> a(m, k, of_a), b(k, n, of_b);
        Result<T> c("c", layouts_of_results[(m + n) % 2], product_with_bound<T>(wide(a), wide(b)));
        hold<T>(rungs, text_of_product(m, k, n, of_a, of_b), [&](auto rung) { rung(a, b, c); }, c);
    });
}

template <class T>
void blocked_with(const Rungs<ByBlocksFn>& rungs) {
    for (index block : {5, 32})
        for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
            if (of_a == Layout::contiguous || of_b != Layout::contiguous) return;
            const Input<T> a(m, k, of_a), b(k, n, of_b);
            Result<T> c("c", Layout::padded, product_with_bound<T>(wide(a), wide(b)));
            hold<T>(
                rungs, text_of_product(m, k, n, of_a, of_b) + text(", blocks of ", block),
                [&](auto rung) { rung(a, b, c, block, block + 1, block + 2); }, c);
        });
}

// Stacks of one product; tests/test_matmul.py has longer ones.
template <class T>
void stack(const Rungs<StackFn>& rungs) {
    for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
        const Input<T> a(m, k, of_a), b(k, n, of_b);
        const Matrix<const T> one = a, other = b;
        Result<T> c("c", Layout::contiguous, product_with_bound<T>(wide(a), wide(b)));
        hold<T>(rungs, text_of_product(m, k, n, of_a, of_b) + ", a stack of one", [&](auto rung) {
            const Matrix<T> result = c;
            rung({one.data, 1, m, k, 0, one.row_stride, one.col_stride},
                 {other.data, 1, k, n, 0, other.row_stride, other.col_stride},
                 {result.data, 1, m, n, 0, result.row_stride, result.col_stride});
        }, c);
    });
}

// The panel's columns are known by the level alone, so every level is asked, and gets panels of its own.
template <class T>
void prepacked(const Rungs<PrepackedFn>& rungs, const Rungs<SizeFn>& sizes) {
    index width = 0;
    Result<T> said("said", Layout::contiguous, one<T>({1, 0}));
    std::vector<Tally> all = tallies;
    for (Tally& level : all) {
        tallies = {level};
        hold<T>(sizes, "", [&](auto size) { *static_cast<T*>(said) = (width = size({nullptr, 0, 1})) > 0; }, said);
        for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
            const Input<T> a(m, k, of_a), b(k, n, of_b);
            const index panels = (n + width - 1) / width;
            const Input<T> packed(panels, k * width, Layout::contiguous, [&](index panel, index at) {
                const index p = at / width, j = panel * width + at % width;
                return j < n ? b.matrix(p, j) : T(0);
            });
            Result<T> c("c", layouts_of_results[(m + n) % 2], product_with_bound<T>(wide(a), wide(b)));
            hold<T>(rungs, text_of_product(m, k, n, of_a, of_b), [&](auto rung) { rung(a, packed, c); }, c);
        });
        level = tallies[0];
    }
    tallies = all;
}

// It gives a reason and a grid, and touches no element: c has no memory.
template <class T>
void why(const Rungs<WhyFn>& rungs) {
    for_products([&](index m, index k, index n, Layout of_a, Layout of_b) {
        const Input<T> a(m, k, of_a), b(k, n, of_b);
        Result<T> said("said", Layout::contiguous, one<T>({1, 0}));
        hold<T>(
            rungs, text_of_product(m, k, n, of_a, of_b),
            [&](auto rung) {
                std::int64_t how[5] = {};
                const char* const reason = rung(a, b, Matrix<T>{nullptr, m, n, n, 1}, {how, 5, 1});
                *static_cast<T*>(said) = reason && *reason && how[0] > 0 && how[1] > 0 && how[2] > 0;
            },
            said);
    });
}

template <class T>
void linear(const Rungs<LinearFn>& rungs) {
    for_products([&](index m, index k, index n, Layout of_x, Layout of_w) {
        const Input<T> x(m, k, of_x), w(k, n, of_w), b(1, n, of_x);
        const Grid<Wide<T>> bias = wide(b);
        Result<T> y("y", layouts_of_results[(m + n) % 2], product_with_bound<T>(wide(x), wide(w), &bias));
        hold<T>(rungs, text_of_product(m, k, n, of_x, of_w), [&](auto rung) { rung(x, w, b.vector(), y); }, y);
    });
}

// --- the MLP

// test(t, d, h, e, layout, tanh_form). The last shape is work for several threads.
template <class Test>
void for_mlps(Test test) {
    constexpr index shapes[][4] = {{1, 1, 1, 1},     {3, 4, 5, 2},     {8, 7, 9, 16},
                                   {17, 16, 33, 15}, {9, 40, 130, 36}, {40, 96, 300, 33}};
    for (const auto& [t, d, h, e] : shapes)
        for (Layout layout : layouts)
            for (bool tanh_form : {false, true})
                if (t < 40 || layout == Layout::transposed) test(t, d, h, e, layout, tanh_form);
}

template <class T>
void mlp_forward(const Rungs<MlpForwardFn>& rungs) {
    for_mlps([&](index t, index d, index h, index e, Layout layout, bool tanh_form) {
        const Input<T> x(t, d, layout), w1(d, h, next(layout), 0.5), b1(1, h, layout), w2(h, e, next(layout, 2), 0.3);
        const Input<T> b2(1, e, next(layout));
        const Grid<Wide<T>> bias1 = wide(b1), bias2 = wide(b2);

        const auto z = product_with_bound<T>(wide(x), wide(w1), &bias1);
        const auto hidden = grid(t, h, [&](index i, index j) -> Near<T> {  // |gelu'| < 1.13
            const Near<T> at = exact::gelu<T>(z(i, j).value, tanh_form);
            return {at.value, 1.13 * z(i, j).bound + at.bound};
        });

        Result<T> z_result("z", Layout::contiguous, z), h_result("h", Layout::contiguous, hidden);
        Result<T> y_result("y", Layout::contiguous, product_with_bound<T>(hidden, wide(w2), &bias2));
        hold<T>(
            rungs, text(t, " x ", d, " x ", h, " x ", e, ", x ", name_of(layout), tanh_form ? ", tanh form" : ""),
            [&](auto rung) { rung(x, w1, b1.vector(), w2, b2.vector(), z_result, h_result, y_result, tanh_form); },
            z_result, h_result, y_result);
    });
}

template <class T>
void mlp_backward(const Rungs<MlpBackwardFn>& rungs) {
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
        hold<T>(
            rungs, text(t, " x ", d, " x ", h, " x ", e, ", x ", name_of(layout), tanh_form ? ", tanh form" : ""),
            [&](auto rung) { rung(dy, x, w1, w2, z, hidden, dx, dw1, db1, dw2, db2, tanh_form); }, dx, dw1, db1, dw2,
            db2);
    });
}

}  // namespace loopnest::tests
