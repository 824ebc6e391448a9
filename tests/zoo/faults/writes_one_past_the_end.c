// The loop over columns ends one too late: after the last row that is beyond c.
//
// operation: matmul
// verdict: writes-outside
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
    c[m * n] = 0;
}
