// Any strides, in elements: the form in which loopnest's own C++ takes its matrices.
extern "C" void matmul(const double* a, long a_row_stride, long a_col_stride, const double* b, long b_row_stride,
                       long b_col_stride, double* c, long c_row_stride, long c_col_stride, long m, long n, long k) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            double sum = 0;
            for (long l = 0; l < k; l++)
                sum += a[i * a_row_stride + l * a_col_stride] * b[l * b_row_stride + j * b_col_stride];
            c[i * c_row_stride + j * c_col_stride] = sum;
        }
}
