// The exact result of each elementwise operation, and the error that a rung may have.
//
// The contracts in python/loopnest/operations/ derive the bounds.
#pragma once

#include "judge.hpp"

namespace loopnest::tests::exact {

template <class T>
Wide<T> beneath(Wide<T> x) {  // an underflow costs some halves of the smallest number, times |x|
    return std::fmin(std::abs(x), Wide<T>(std::numeric_limits<T>::max())) * smallest<T>;
}

template <class W>
W logistic(W x) {
    const W t = std::exp(-std::abs(x));
    return (x < 0 ? t : W(1)) / (1 + t);
}

template <class T>
Near<T> within_ulps(Wide<T> ulps, Wide<T> value) {
    return {value, 2 * ulps * unit_roundoff<T> * std::abs(value) + 2 * smallest<T>};
}

template <class T>
Near<T> relu(Wide<T> x) {
    return {x <= 0 ? 0 : x, 0};
}
template <class T>
Near<T> exp(Wide<T> x) {
    const Wide<T> value = std::exp(x);
    if (value > Wide<T>(std::numeric_limits<T>::max())) return {std::numeric_limits<Wide<T>>::infinity(), 0};
    return within_ulps<T>(5, value);
}
template <class T>
Near<T> sigmoid(Wide<T> x) {
    return within_ulps<T>(5, logistic(x));
}
template <class T>
Near<T> tanh(Wide<T> x) {
    return within_ulps<T>(5, std::tanh(x));
}

template <class T>
Near<T> relu_backward(Wide<T> x, Wide<T> dy) {
    return {x <= 0 ? 0 : dy, 0};
}
template <class T>
Near<T> sigmoid_backward(Wide<T> x, Wide<T> dy) {
    const Near<T> near = within_ulps<T>(8, dy * (logistic(x) * logistic(-x)));
    return {near.value, near.bound + 4 * beneath<T>(dy)};
}
template <class T>
Near<T> tanh_backward(Wide<T> x, Wide<T> dy) {  // 1 - tanh² = 4 σ(2x) σ(-2x)
    const Near<T> near = within_ulps<T>(8, dy * (4 * logistic(2 * x) * logistic(-2 * x)));
    return {near.value, near.bound + 4 * beneath<T>(dy)};
}
template <class T>
Near<T> add(Wide<T> a, Wide<T> b) {
    return {a + b, unit_roundoff<T> * std::abs(a + b)};
}

// The two factors of GELU and of its slope: x · distribution, and distribution + x · density.
template <class W>
struct Normal {
    W distribution, density;
    W exponent;  // of density: an error in it is an error of the result
};

template <class W>
Normal<W> normal(W x, bool tanh_form) {
    const W pi = std::acos(W(-1));
    if (!tanh_form) {
        const W far = std::fmin(std::abs(x), W(200));  // beyond it the factors are 0 or 1
        const W tail = std::erfc(far / std::sqrt(W(2))) / 2;
        const W density = std::exp(-far * far / 2) / std::sqrt(2 * pi);
        return {x != x ? x : x > 0 ? 1 - tail : tail, density, far * far / 2};
    }
    const W scale = 2 * std::sqrt(2 / pi), cubic = W(44715) / 1000000,
            far = std::copysign(std::fmin(std::abs(x), W(200)), x);
    const W w = scale * far * (1 + cubic * far * far), slope = scale * (1 + 3 * cubic * far * far);
    return {x != x ? x : logistic(w), logistic(w) * logistic(-w) * slope, std::abs(w)};
}

template <class T>
Near<T> gelu(Wide<T> x, bool tanh_form) {
    const Normal<Wide<T>> at = normal(x, tanh_form);
    const Wide<T> value = x * at.distribution;
    const Wide<T> steepness = at.distribution > 0 ? std::abs(x) * at.density / at.distribution : 0;
    const Wide<T> relative = unit_roundoff<T> * (10 + 2 * (std::isfinite(steepness) ? steepness : 0));
    return {value, relative * std::abs(value) + 2 * (std::fmin(std::abs(x), Wide<T>(100)) + 1) * smallest<T>};
}

template <class T>
Near<T> gelu_backward(Wide<T> x, Wide<T> dy, bool tanh_form) {
    const Normal<Wide<T>> at = normal(x, tanh_form);
    const Wide<T> first = at.distribution, second = x * at.density;
    const Wide<T> error = unit_roundoff<T> * (10 * std::abs(first) + (14 + 8 * at.exponent) * std::abs(second));
    const Wide<T> size = std::fmin(std::abs(x), Wide<T>(100)) + 2;
    const Wide<T> underflow = 2 * size * size * size * smallest<T>;
    return {dy * (first + second), std::abs(dy) * (error + underflow) + (2 * std::abs(dy) + 2) * smallest<T>};
}

}  // namespace loopnest::tests::exact
