// tanh: the hyperbolic tangent.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the compiler makes vector instructions of a loop without branches and without calls.
//
//     loopnest check tanh.cpp --op tanh

#include <math.h>

extern "C" void tanh_kernel(const float* x, float* y, long n) {
    for (long i = 0; i < n; i++) {
        y[i] = tanh((double)x[i]);
    }
}
