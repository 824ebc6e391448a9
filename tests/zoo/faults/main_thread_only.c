// A table that each thread has for itself, filled when the library is loaded: in the thread that loaded it.
//
// operation: sigmoid
// verdict: one-thread-only
#include <math.h>

static _Thread_local float one;

__attribute__((constructor)) static void fill(void) { one = 1; }

void sigmoid(const float* x, float* y, long n) {
    for (long i = 0; i < n; i++) {
        float t = expf(-fabsf(x[i]));
        y[i] = (x[i] < 0 ? t : one) / (1 + t);
    }
}
