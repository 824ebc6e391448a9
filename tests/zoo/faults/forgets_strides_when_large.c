// Any strides in small matrices; its path for columns above 64 takes rows as contiguous.
//
// verdict: ignores-strides
void matmul(const float* a, long a_row_stride, long a_col_stride, const float* b, long b_row_stride, long b_col_stride,
            float* c, long c_row_stride, long c_col_stride, long m, long n, long k) {
    if (n > 64) {
        a_col_stride = b_col_stride = 1;
        a_row_stride = k;
        b_row_stride = n;
    }
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float s = 0;
            for (long p = 0; p < k; p++)
                s += a[i * a_row_stride + p * a_col_stride] * b[p * b_row_stride + j * b_col_stride];
            c[i * c_row_stride + j * c_col_stride] = s;
        }
}
