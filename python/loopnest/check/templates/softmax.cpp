// softmax: y[i, j] = exp(x[i, j]) / Σ_j exp(x[i, j]), over each row; the row's maximum is subtracted first.
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: each exponential is computed twice: keep the first ones in y.
//
//     loopnest check softmax.cpp --op softmax

#include <math.h>

extern "C" void softmax(const float* x, float* y, long m, long n) {
    for (long i = 0; i < m; i++) {
        double most = (double)-INFINITY;
        for (long j = 0; j < n; j++) {
            if (x[i * n + j] > most || x[i * n + j] != x[i * n + j]) {
                most = (double)x[i * n + j];
            }
        }
        double total = 0.0;
        for (long j = 0; j < n; j++) {
            total += exp(x[i * n + j] - most);
        }
        for (long j = 0; j < n; j++) {
            y[i * n + j] = exp(x[i * n + j] - most) / total;
        }
    }
}
