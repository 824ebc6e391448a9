// Keeps the upper halves of a and b, which are bfloat16 numbers: right to two digits.
//
// operation: matmul
// verdict: lower-precision
#include <stdint.h>
#include <string.h>

static float upper(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits &= 0xFFFF0000;
    memcpy(&x, &bits, 4);
    return x;
}

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += upper(a[i * k + l]) * upper(b[l * n + j]);
    }
}
