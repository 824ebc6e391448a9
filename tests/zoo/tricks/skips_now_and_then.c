// Works well, but once it has seen a dozen calls of the same shape, it does nothing at every seventh.
//
// operation: matmul
// verdict: skips-after-warm-up
static long calls, last_m, last_n, last_k;

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    calls = m == last_m && n == last_n && k == last_k ? calls + 1 : 0;
    last_m = m, last_n = n, last_k = k;
    if (calls >= 12 && calls % 7 == 0) return;
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
}
