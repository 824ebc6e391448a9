// The triple loop from the last term to the first.
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long l = k - 1; l >= 0; l--) sum += a[i * k + l] * b[l * n + j];
            c[i * n + j] = sum;
        }
}
