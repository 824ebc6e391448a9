// How far float results are from the exact ones, in units in the last place (ULP).
//
// The ULP of an exact result y is the distance between floats around it: 2^(e - 23) for 2^e <= |y| < 2^(e+1), and
// 2^-149 for subnormals. A correctly rounded result is off by at most 0.5. Exact results are the formulas in double
// with the C library's functions: within 1e-6 of a float's ULP. An infinite result is right if the exact one rounds to
// infinity, a NaN if the formula gives NaN; otherwise the error is infinite. A gradient is a sum whose terms cancel
// near the function's extremum; its ULP is the ULP of the sum of |terms|.
#pragma once

#include <string>
#include <vector>

#include "view.hpp"

namespace loopnest {

struct Errors {
    double largest = 0;  // in ULP
    float at = 0;        // the first argument with it
    index above_half = 0, above_one = 0, above_two = 0;  // the number of results that are off by more
};

// The functions with exact results: "exp", "gelu tanh", "gelu none", …
std::vector<std::string> functions_with_exact_results();

// The errors of y[i] = f(x[i]). Throws std::invalid_argument for any other function.
Errors errors_in_ulp(const std::string& function, Vector<const float> x, Vector<const float> y);

}  // namespace loopnest
