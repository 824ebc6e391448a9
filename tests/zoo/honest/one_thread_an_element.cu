// A thread computes an element; neighbours in x have neighbouring columns.
// launch: grid=((n + 31) / 32, (m + 7) / 8) block=(32, 8)
__global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
    int i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m || j >= n) return;
    float sum = 0;
    for (int l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
    c[i * n + j] = sum;
}
