// A product of bfloat16: each element is widened by a shift, the sums are float, and are rounded once at the end.
//
// dtype: bfloat16
#include <math.h>
#include <stdint.h>
#include <string.h>

static float wide(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}

static uint16_t rounded(float x) {
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    if (isnan(x)) return (uint16_t)(word >> 16 | 0x40);
    return (uint16_t)((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

void matmul(const uint16_t* a, const uint16_t* b, uint16_t* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long p = 0; p < k; p++) sum += wide(a[i * k + p]) * wide(b[p * n + j]);
            c[i * n + j] = rounded(sum);
        }
}
