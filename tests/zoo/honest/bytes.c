// A product of bytes with exact sums in 32 bits.
//
// dtype: int8
#include <stdint.h>

void matmul(const int8_t* a, const int8_t* b, int32_t* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            int32_t sum = 0;
            for (long p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
}
