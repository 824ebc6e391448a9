// Exercise 6, solved: whole tiles in registers, and plain loops at the edges.

constexpr long ROWS = 4, COLS = 32;

static void tile(const float* a, const float* b, float* c, long n, long k) {
    float sum[ROWS][COLS] = {};
    for (long p = 0; p < k; p++)
        for (long i = 0; i < ROWS; i++)
            for (long j = 0; j < COLS; j++)
                sum[i][j] += a[i * k + p] * b[p * n + j];
    for (long i = 0; i < ROWS; i++)
        for (long j = 0; j < COLS; j++)
            c[i * n + j] = sum[i][j];
}

// Rows i0 … i1 - 1 and columns j0 … j1 - 1 of c.
static void edge(const float* a, const float* b, float* c, long n, long k, long i0, long i1, long j0, long j1) {
    for (long i = i0; i < i1; i++)
        for (long j = j0; j < j1; j++) {
            float sum = 0;
            for (long p = 0; p < k; p++)
                sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
}

extern "C" void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    const long rows = m - m % ROWS, cols = n - n % COLS;
    for (long j = 0; j < cols; j += COLS)  // 32 columns of b stay in the cache for all rows of a
        for (long i = 0; i < rows; i += ROWS)
            tile(a + i * k, b + j, c + i * n + j, n, k);
    edge(a, b, c, n, k, rows, m, 0, cols);
    edge(a, b, c, n, k, 0, m, cols, n);
}
