// gelu: GELU in its tanh form, x · σ(w) with w = 2 √(2/π) (x + 0.044715 x³) and σ(w) = 1 / (1 + exp(-w)).
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: exp is a call for each element: a polynomial of your own can be computed in vectors.
//
//     loopnest check gelu.cpp --op gelu

#include <math.h>

extern "C" void gelu(const float* x, float* y, long n) {
    for (long i = 0; i < n; i++) {
        double v = (double)x[i];
        double w = 1.5957691216057308 * (v + 0.044715 * v * v * v);
        y[i] = v / (1 + exp(-w));
    }
}
