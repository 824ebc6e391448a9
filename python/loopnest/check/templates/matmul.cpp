// matmul: the product of two matrices, c[i, j] = Σ_p a[i, p] · b[p, j]; a is (m, k), b (k, n), c (m, n).
//
// Right, and slow. Arrays are in C order: rows one after another.
// What to try first: the innermost loop walks down a column of b: exchange the loops over j and p to follow a row.
//
//     loopnest check matmul.cpp --op matmul

extern "C" void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) {
            float total = 0;
            for (long p = 0; p < k; p++) {
                total += a[i * k + p] * b[p * n + j];
            }
            c[i * n + j] = total;
        }
    }
}
