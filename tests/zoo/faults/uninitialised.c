// Sums begin with whatever the stack held.
//
// operation: matmul
// verdict: wrong-values
#include <stdlib.h>

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    float* row = malloc((size_t)(n + 1) * sizeof(float));
    for (long j = 0; j < n; j++) row[j] = 1e-3f * (float)(j + 1);  // what an earlier user of this memory left
    for (long i = 0; i < m; i++) {
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) row[j] += a[i * k + l] * b[l * n + j];
        for (long j = 0; j < n; j++) c[i * n + j] = row[j];
    }
    free(row);
}
