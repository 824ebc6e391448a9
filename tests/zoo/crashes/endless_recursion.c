// The same in C, where the stack ends.
//
// operation: matmul
// verdict: crashed
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    volatile long half = m / 2;
    matmul(a, b, c, half, n, k);
    matmul(a + half * k, b, c + half * n, m - half, n, k);
    c[0] += (float)half;
}
