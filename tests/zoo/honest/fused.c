// One rounding a term, by fma().
#include <math.h>

void matmul(const float* restrict a, const float* restrict b, float* restrict c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] = fmaf(a[i * k + l], b[l * n + j], c[i * n + j]);
    }
}
