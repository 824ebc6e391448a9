// The second barrier is missing: a fast thread brings the next tile while a slow one still reads this one.
//
// operation: matmul
// verdict: race
// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)
__global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ float a_tile[16][16], b_tile[16][16];
    int x = threadIdx.x, y = threadIdx.y, i = blockIdx.y * 16 + y, j = blockIdx.x * 16 + x;
    float sum = 0;
    for (int l0 = 0; l0 < k; l0 += 16) {
        a_tile[y][x] = i < m && l0 + x < k ? a[i * k + l0 + x] : 0;
        b_tile[y][x] = l0 + y < k && j < n ? b[(l0 + y) * n + j] : 0;
        __syncthreads();
        for (int l = 0; l < 16 && l0 + l < k; l++) sum += a_tile[y][l] * b_tile[l][x];
    }
    if (i < m && j < n) c[i * n + j] = sum;
}
