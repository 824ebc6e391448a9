// Leaves products with zero out, which zero times NaN or infinity is not.
//
// operation: matmul
// verdict: nan-lost
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++) {
            if (a[i * k + l] == 0) continue;
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
        }
    }
}
