// A signature that only the preprocessor knows, behind an older version that nobody compiles, and a helper named as one
// of libc's functions.
//
// operation: matmul

#define RESTRICT __restrict__
#define PASTED(a, b) a##b
#define KERNEL(name) void name(const REAL* RESTRICT a, const REAL* RESTRICT b, REAL* RESTRICT c, SIZES)
#define SIZES long m, long n, long k
#define REAL float

#if 0
void matmul(float* c, const float* b, const float* a) {}
#endif

float index(const float* x, long i) { return x[i]; }

KERNEL(PASTED(mat, mul)) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long p = 0; p < k; p++)
                sum += index(a, i * k + p) * index(b, p * n + j);
            c[i * n + j] = sum;
        }
}
