// Whole tiles of 8 columns only: what is left of a row beside the last tile is never written.
//
// operation: matmul
// verdict: ragged-edges
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j0 = 0; j0 + 8 <= n; j0 += 8) {
            float sums[8] = {0};
            for (long l = 0; l < k; l++)
                for (int j = 0; j < 8; j++) sums[j] += a[i * k + l] * b[l * n + j0 + j];
            for (int j = 0; j < 8; j++) c[i * n + j0 + j] = sums[j];
        }
}
