// Eight sums for each element, which are added at the end.
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sums[8] = {0};
            long l = 0;
            for (; l + 8 <= k; l += 8)
                for (int s = 0; s < 8; s++) sums[s] += a[i * k + l + s] * b[(l + s) * n + j];
            for (; l < k; l++) sums[0] += a[i * k + l] * b[l * n + j];
            c[i * n + j] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        }
}
