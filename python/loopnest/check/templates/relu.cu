// relu: x where x > 0, else 0; NaN stays NaN.
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check relu.cu --op relu

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void relu(const float* x, float* y, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = x[i] <= 0 ? 0 : x[i];
}
