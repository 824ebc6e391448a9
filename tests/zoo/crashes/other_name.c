// The function has another name.
//
// operation: matmul
// verdict: no-function
void matmull(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m * n * (k > 0); i++) c[i] = a[0] * b[0];
}
