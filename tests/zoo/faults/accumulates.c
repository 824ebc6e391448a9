// Adds to what c holds, and never sets it to zero: right in a buffer of zeros.
//
// operation: matmul
// verdict: reads-out
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
}
