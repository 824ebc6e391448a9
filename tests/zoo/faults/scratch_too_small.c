// A buffer on the stack for the columns of b that is large enough for the author's shapes.
//
// operation: matmul
// verdict: crashed
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    volatile float column[512];
    for (long j = 0; j < n; j++) {
        for (long l = 0; l < k; l++) column[l] = b[l * n + j];
        for (long i = 0; i < m; i++) {
            float sum = 0;
            for (long l = 0; l < k; l++) sum += a[i * k + l] * column[l];
            c[i * n + j] = sum;
        }
    }
}
