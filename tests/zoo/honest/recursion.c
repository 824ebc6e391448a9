// Halves the longest of m, n and k until a product is small: good for every cache, without knowing its size.
static void add_product(const float* a, const float* b, float* c, long m, long n, long k, long lda, long ldb) {
    if (m <= 16 && n <= 16 && k <= 16) {
        for (long i = 0; i < m; i++)
            for (long l = 0; l < k; l++)
                for (long j = 0; j < n; j++) c[i * ldb + j] += a[i * lda + l] * b[l * ldb + j];
    } else if (m >= n && m >= k) {
        add_product(a, b, c, m / 2, n, k, lda, ldb);
        add_product(a + m / 2 * lda, b, c + m / 2 * ldb, m - m / 2, n, k, lda, ldb);
    } else if (n >= k) {
        add_product(a, b, c, m, n / 2, k, lda, ldb);
        add_product(a, b + n / 2, c + n / 2, m, n - n / 2, k, lda, ldb);
    } else {
        add_product(a, b, c, m, n, k / 2, lda, ldb);
        add_product(a + k / 2, b + k / 2 * ldb, c, m, n, k - k / 2, lda, ldb);
    }
}

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m * n; i++) c[i] = 0;
    add_product(a, b, c, m, n, k, k, n);
}
