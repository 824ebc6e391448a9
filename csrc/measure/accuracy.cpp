#include "measure/accuracy.hpp"

#include <algorithm>
#include <bit>
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

double sigmoid(double x) {
    const double t = std::exp(-std::fabs(x));
    return (x < 0 ? t : 1) / (1 + t);
}

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

// 1 / ulp: a power of two, made from the exponent's bits.
double ulps_in_one(double size) {
    using Float = std::numeric_limits<float>;
    constexpr int mantissa_bits = 52, bias = 1023;
    const int exponent = int(std::bit_cast<std::uint64_t>(size) >> mantissa_bits) - bias;  // 2^exponent <= size
    const int of_ulp = std::max(exponent, Float::min_exponent - 1) - (Float::digits - 1);
    return std::bit_cast<double>(std::uint64_t(bias - of_ulp) << mantissa_bits);
}

double error_in_ulp(const Exact& exact, float y) {
    if (std::isfinite(y) && std::isfinite(exact.value)) [[likely]]
        return std::fabs(y - exact.value) * ulps_in_one(exact.size);
    constexpr double overflow = 0x1.ffffffp127;  // rounds to infinity: past the largest float by half an ULP
    const bool both_nan = std::isnan(y) && std::isnan(exact.value);
    const bool both_infinite = std::isinf(y) && std::fabs(exact.value) >= overflow && (y > 0) == (exact.value > 0);
    return both_nan || both_infinite ? 0 : std::numeric_limits<double>::infinity();
}

template <Exact exact(double x)>
Errors errors_of(Vector<const float> x, Vector<const float> y) {
    Errors errors;
    for (index i = 0; i < x.size; ++i) {
        const double error = error_in_ulp(exact(x[i]), y[i]);
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

struct Function {
    const char* name;
    Errors (*errors)(Vector<const float> x, Vector<const float> y);
};

constexpr Function functions[] = {
    {"exp", errors_of<[](double x) { return whole(std::exp(x)); }>},
    {"sigmoid", errors_of<[](double x) { return whole(sigmoid(x)); }>},
    {"tanh", errors_of<[](double x) { return whole(std::tanh(x)); }>},
    {"gelu tanh", errors_of<[](double x) { return whole(x * sigmoid(tanh_argument(x))); }>},
    {"gelu none", errors_of<[](double x) { return whole(x * distribution(x)); }>},
    {"sigmoid_backward", errors_of<[](double x) { return whole(sigmoid(x) * sigmoid(-x)); }>},
    {"tanh_backward", errors_of<[](double x) { return whole(4 * sigmoid(2 * x) * sigmoid(-2 * x)); }>},
    {"gelu_backward tanh", errors_of<[](double x) { return exact_slope(x, true); }>},
    {"gelu_backward none", errors_of<[](double x) { return exact_slope(x, false); }>},
};

}  // namespace

std::vector<std::string> functions_with_exact_results() {
    std::vector<std::string> names;
    for (const Function& function : functions) names.push_back(function.name);
    return names;
}

Errors errors_in_ulp(const std::string& name, Vector<const float> x, Vector<const float> y) {
    for (const Function& function : functions)
        if (name == function.name) return function.errors(x, y);
    throw std::invalid_argument("there are no exact results for '" + name + "'");
}

}  // namespace loopnest
