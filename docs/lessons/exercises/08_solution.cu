// Exercise 8, solved: a loop over the tiles along k, with one barrier before and one after their use.

constexpr int TILE = 16;

// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)
extern "C" __global__ void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    __shared__ float a_tile[TILE][TILE];
    __shared__ float b_tile[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const long i = (long)blockIdx.y * TILE + y, j = (long)blockIdx.x * TILE + x;

    float sum = 0;
    for (long p0 = 0; p0 < k; p0 += TILE) {
        a_tile[y][x] = i < m && p0 + x < k ? a[i * k + p0 + x] : 0.0f;
        b_tile[y][x] = p0 + y < k && j < n ? b[(p0 + y) * n + j] : 0.0f;
        __syncthreads();  // all threads have loaded
        for (int p = 0; p < TILE; p++)
            sum += a_tile[y][p] * b_tile[p][x];
        __syncthreads();  // all threads have used the tiles: they may be overwritten
    }
    if (i < m && j < n)
        c[i * n + j] = sum;
}
