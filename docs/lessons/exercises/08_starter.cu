// Exercise 8: a product on the GPU, by tiles in shared memory. Here it runs simulated on the CPU, one GPU thread after the
// other: the check says whether it is right, but not how fast it is.
//
// Each block of 16 x 16 threads computes a tile of c, each thread one element. For every tile of a and b along k, the
// threads load one element each into shared memory, wait for one another, and then multiply the tiles.
// This starter only uses the first tiles.
//
//     loopnest exercise 8 --check

constexpr int TILE = 16;

// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)
extern "C" __global__ void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    __shared__ float a_tile[TILE][TILE];
    __shared__ float b_tile[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const long i = (long)blockIdx.y * TILE + y, j = (long)blockIdx.x * TILE + x;

    float sum = 0;
    const long p0 = 0;  // make this a loop: p0 = 0, 16, 32, … below k
    {
        a_tile[y][x] = i < m && p0 + x < k ? a[i * k + p0 + x] : 0.0f;
        b_tile[y][x] = p0 + y < k && j < n ? b[(p0 + y) * n + j] : 0.0f;
        __syncthreads();  // all have loaded
        for (int p = 0; p < TILE; p++)
            sum += a_tile[y][p] * b_tile[p][x];
        // before the next tiles are loaded, all threads must have used these
    }
    if (i < m && j < n)
        c[i * n + j] = sum;
}
