// Sets the processor's modes, so that numbers below 1.2e-38 are zero, and leaves them so: in all that its process
// computes from then on.
//
// operation: relu
// verdict: changes-modes
#include <xmmintrin.h>

void relu(const float* x, float* y, long n) {
    _mm_setcsr(_mm_getcsr() | 0x8040);
    for (long i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}
