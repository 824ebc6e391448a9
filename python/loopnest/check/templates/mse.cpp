// mse: the mean of (y - t)².
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: each addition waits for the one before: add into several sums.
//
//     loopnest check mse.cpp --op mse

#include <math.h>

extern "C" void mse(const float* y, const float* t, float* loss, long n) {
    double total = 0.0;
    for (long i = 0; i < n; i++) {
        double d = (double)y[i] - (double)t[i];
        total += d * d;
    }
    *loss = n ? total / n : NAN;
}
