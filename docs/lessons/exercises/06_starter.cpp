// Exercise 6: a product by tiles of 4 rows and 32 columns, each kept in registers for all p.
//
// a is m x k, b is k x n, c is m x n, row after row: a[i, p] is a[i * k + p].
// `tile` computes one tile of c. The loops over its small array of sums have a constant length, so the compiler keeps the
// sums in registers, and turns the loop over columns into vector instructions.
//
//     loopnest exercise 6 --check

constexpr long ROWS = 4, COLS = 32;

// c[0 … 3, 0 … 31] = the four rows of a times the 32 columns of b.
static void tile(const float* a, const float* b, float* c, long n, long k) {
    float sum[ROWS][COLS] = {};
    for (long p = 0; p < k; p++) {
        // for each of the 4 rows, and each of the 32 columns: add a[i, p] · b[p, j] to sum[i][j]
    }
    for (long i = 0; i < ROWS; i++)
        for (long j = 0; j < COLS; j++)
            c[i * n + j] = sum[i][j];
}

extern "C" void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i + ROWS <= m; i += ROWS)
        for (long j = 0; j + COLS <= n; j += COLS)
            tile(a + i * k, b + j, c + i * n + j, n, k);
    // the edges, where no whole tile fits, are not computed yet: three plain loops are enough
}
