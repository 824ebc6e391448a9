// Kahan's compensated sum: what each addition rounds away is added to the next term.
void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0, lost = 0, plain = 0;
            for (long l = 0; l < k; l++) {
                float product = a[i * k + l] * b[l * n + j];
                float term = product - lost;
                float next = sum + term;
                lost = (next - sum) - term;
                sum = next;
                plain += product;
            }
            c[i * n + j] = __builtin_isfinite(plain) ? sum : plain;  // infinity less infinity would be NaN
        }
}
