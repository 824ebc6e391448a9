// A semicolon is missing.
//
// operation: matmul
// verdict: does-not-build
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m * n; i++) c[i] = 0
}
