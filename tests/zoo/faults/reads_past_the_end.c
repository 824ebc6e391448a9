// Loads the element of b after the one that it needs, to have it early: after the last one that is beyond b.
//
// operation: matmul
// verdict: reads-outside
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            if (k > 0) {
                float next = b[j];
                for (long l = 0; l < k; l++) {
                    float now = next;
                    next = *(volatile const float*)&b[(l + 1) * n + j];
                    sum += a[i * k + l] * now;
                }
            }
            c[i * n + j] = sum;
        }
}
