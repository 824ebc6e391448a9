// Threads of OpenMP, which take rows as they are free: another thread computes a row each time.
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
#pragma omp parallel for schedule(dynamic, 3) num_threads(2)
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
}
