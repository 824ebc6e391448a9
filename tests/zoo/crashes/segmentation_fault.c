// Writes to address 8.
//
// operation: matmul
// verdict: crashed
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    *(volatile float*)8 = a[0] + b[0] + c[0] + (float)(m + n + k);
}
