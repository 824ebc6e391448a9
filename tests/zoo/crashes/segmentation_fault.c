// Writes to address 8.
//
// operation: matmul
// verdict: crashed
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    (void)a, (void)b, (void)c, (void)m, (void)n, (void)k;
    *(volatile float*)8 = 0;
}
