#include "machine/accuracy.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace loopnest {
namespace {

struct Exact {
    double value;
    double size;  // whose ULP the error is counted in
};

Exact whole(double value) { return {value, std::fabs(value)}; }

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

double distribution(double x) { return std::erfc(-x * std::sqrt(0.5)) / 2; }

constexpr double linear = 1.5957691216057307118, cubic = 0.044715;  // 2 √(2/π)

double tanh_argument(double x) { return linear * x * (1 + cubic * x * x); }

Exact exact_slope(double x, bool tanh_form) {
    double first, second;
    if (tanh_form) {
        const double w = tanh_argument(x);
        first = sigmoid(w);
        second = x * first * sigmoid(-w) * linear * (1 + 3 * cubic * x * x);
    } else {
        first = distribution(x);
        second = x * std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846);
    }
    return {first + second, std::fabs(first) + std::fabs(second)};
}

struct Function {
    const char* name;
    Exact (*exact)(double x);
};

constexpr Function functions[] = {
    {"exp", [](double x) { return whole(std::exp(x)); }},
    {"sigmoid", [](double x) { return whole(sigmoid(x)); }},
    {"tanh", [](double x) { return whole(std::tanh(x)); }},
    {"gelu tanh", [](double x) { return whole(x * sigmoid(tanh_argument(x))); }},
    {"gelu none", [](double x) { return whole(x * distribution(x)); }},
    {"sigmoid_backward", [](double x) { return whole(sigmoid(x) * sigmoid(-x)); }},
    {"tanh_backward", [](double x) { return whole(4 * sigmoid(2 * x) * sigmoid(-2 * x)); }},
    {"gelu_backward tanh", [](double x) { return exact_slope(x, true); }},
    {"gelu_backward none", [](double x) { return exact_slope(x, false); }},
};

double ulp(double size) {
    using Float = std::numeric_limits<float>;
    int exponent = 0;  // size = fraction 2^exponent with 1/2 <= fraction < 1
    std::frexp(size, &exponent);
    return std::ldexp(1.0, std::max(exponent, Float::min_exponent) - Float::digits);
}

double error_in_ulp(const Exact& exact, float y) {
    // What is past the largest float by half an ULP rounds to infinity.
    constexpr double overflow = 0x1.ffffffp127;
    if (std::isnan(exact.value)) return std::isnan(y) ? 0 : std::numeric_limits<double>::infinity();
    if (std::isinf(y) && std::fabs(exact.value) >= overflow && (y > 0) == (exact.value > 0)) return 0;
    if (!std::isfinite(y)) return std::numeric_limits<double>::infinity();
    return std::fabs(y - exact.value) / ulp(exact.size);
}

}  // namespace

std::vector<std::string> functions_with_exact_results() {
    std::vector<std::string> names;
    for (const Function& function : functions) names.push_back(function.name);
    return names;
}

Errors errors_in_ulp(const std::string& name, Vector<const float> x, Vector<const float> y) {
    for (const Function& function : functions) {
        if (name != function.name) continue;
        Errors errors;
        for (index i = 0; i < x.size; ++i) {
            const double error = error_in_ulp(function.exact(x[i]), y[i]);
            errors.above_half += error > 0.5;
            errors.above_one += error > 1;
            errors.above_two += error > 2;
            if (error > errors.largest) {
                errors.largest = error;
                errors.at = x[i];
            }
        }
        return errors;
    }
    throw std::invalid_argument("there are no exact results for '" + name + "'");
}

}  // namespace loopnest
