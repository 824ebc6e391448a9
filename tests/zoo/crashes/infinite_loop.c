// Counts down from k in an unsigned number: it never gets below zero.
//
// operation: matmul
// verdict: timed-out
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m * n; i++) c[i] = 0;
    for (unsigned long l = (unsigned long)k - 1; l >= 0; l--)
        if (l < (unsigned long)k)
            for (long i = 0; i < m; i++)
                for (long j = 0; j < n; j++) *(volatile float*)&c[i * n + j] += a[i * k + l] * b[l * n + j];
}
