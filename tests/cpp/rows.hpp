// Softmax and cross-entropy: an element depends on its whole row.
#pragma once

#include "elementwise.hpp"

namespace loopnest::tests {

template <class T>
struct SoftmaxRow {
    std::vector<Wide<T>> shifted, p;
    Wide<T> log_total = 0, by_terms = 0;  // log of the sum of exp(shifted); relative error of its terms
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
void softmax(const Rungs<UnaryFn>& rungs) {
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
    Chosen chosen;
    for (index classes : sizes)
        for (index batch : {1, 9})
            for (Layout layout : layouts)
                if (chosen()) test(batch, classes, layout);
}

struct Labels : Input<std::int64_t> {
    Labels(index batch, index classes)
        : Input(1, batch, Layout::stepped,
                [=](index, index) { return std::int64_t(random_bits() % std::uint64_t(classes)); }) {}
};

template <class T>
void cross_entropy(const Rungs<CrossEntropyFn>& rungs) {
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
        hold<T>(
            rungs, text(batch, " x ", classes, ", ", name_of(layout)),
            [&](auto rung) { rung(logits, labels.vector(), result); }, result);
    });
}

template <class T>
void cross_entropy_backward(const Rungs<CrossEntropyBackwardFn>& rungs) {
    for_batches([&](index batch, index classes, Layout layout) {
        const Input<T> logits(batch, classes, layout, 3);
        const Labels labels(batch, classes);
        const auto rows = softmax_rows(logits);
        Result<T> gradient("dlogits", Layout::padded, grid(batch, classes, [&](index i, index j) -> Near<T> {
                               const Near<T> p = softmax_at(rows[i], j);
                               const Wide<T> value = (p.value - (j == labels.vector()[i])) / batch;
                               return {value, p.bound / batch + 4 * unit_roundoff<T> * std::abs(value)};
                           }));
        hold<T>(
            rungs, text(batch, " x ", classes, ", ", name_of(layout)),
            [&](auto rung) { rung(logits, labels.vector(), gradient); }, gradient);
    });
}

}  // namespace loopnest::tests
