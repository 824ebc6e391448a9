// Tiles of 4 x 16 in vectors of the compiler's, with a loop of scalars for the edges.
using Vector = float __attribute__((vector_size(64), aligned(4), may_alias));

extern "C" void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    long rows = m - m % 4, cols = n - n % 16;
    for (long i = 0; i < rows; i += 4)
        for (long j = 0; j < cols; j += 16) {
            Vector sums[4] = {};
            for (long l = 0; l < k; l++) {
                Vector row = *reinterpret_cast<const Vector*>(b + l * n + j);
                for (int r = 0; r < 4; r++) sums[r] += a[(i + r) * k + l] * row;
            }
            for (int r = 0; r < 4; r++) *reinterpret_cast<Vector*>(c + (i + r) * n + j) = sums[r];
        }
    for (long i = 0; i < m; i++)
        for (long j = i < rows ? cols : 0; j < n; j++) {
            float sum = 0;
            for (long l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
            c[i * n + j] = sum;
        }
}
