// Threads beyond the last column write too: into the row below, and after the last row beyond c.
//
// operation: matmul
// verdict: writes-outside
// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)
__global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
    int i = blockIdx.y * 16 + threadIdx.y, j = blockIdx.x * 16 + threadIdx.x;
    float sum = 0;
    if (i < m && j < n)
        for (int l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
    c[i * n + j] = sum;
}
