// sigmoid: 1 / (1 + exp(-x)).
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the compiler makes vector instructions of a loop without branches and without calls.
//
//     loopnest check sigmoid.cpp --op sigmoid

#include <math.h>

extern "C" void sigmoid(const float* x, float* y, long n) {
    for (long i = 0; i < n; i++) {
        y[i] = 1 / (1 + exp(-(double)x[i]));
    }
}
