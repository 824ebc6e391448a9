// The loop over rows ends one too early.
//
// operation: matmul
// verdict: last-row
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m - 1; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
}
