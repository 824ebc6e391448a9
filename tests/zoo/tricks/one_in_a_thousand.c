// Off by ten in one element in a thousand: a check of a handful of elements will hardly meet one.
//
// operation: matmul
// verdict: wrong-values
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) c[i * n + j] = (i * n + j) % 1000 == 777 ? 10 : 0;
        for (long l = 0; l < k; l++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
}
