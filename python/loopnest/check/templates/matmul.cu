// matmul: the product of two matrices, c[i, j] = Σ_p a[i, p] · b[p, j]; a is (m, k), b (k, n), c (m, n).
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check matmul.cu --op matmul

// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)
extern "C" __global__ void matmul(const float* a, const float* b, float* c, long m, long n, long k) {
    long i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= m || j >= n) return;
    float total = 0;
    for (long p = 0; p < k; p++) {
        total += a[i * k + p] * b[p * n + j];
    }
    c[i * n + j] = total;
}
