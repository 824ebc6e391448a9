// Copies b with its columns as rows, to memory that it gives back, and adds up four sums at once.
#include <stdlib.h>

void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    float* rows = malloc((size_t)(n * k + 1) * sizeof *rows);
    for (long l = 0; l < k; l++)
        for (long j = 0; j < n; j++) rows[j * k + l] = b[l * n + j];
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            const float *x = a + i * k, *y = rows + j * k;
            float sums[4] = {0, 0, 0, 0};
            long l = 0;
            for (; l + 4 <= k; l += 4)
                for (long lane = 0; lane < 4; lane++) sums[lane] += x[l + lane] * y[l + lane];
            for (; l < k; l++) sums[0] += x[l] * y[l];
            c[i * n + j] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        }
    free(rows);
}
