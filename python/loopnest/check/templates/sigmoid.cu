// sigmoid: 1 / (1 + exp(-x)).
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check sigmoid.cu --op sigmoid

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void sigmoid(const float* x, float* y, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = 1 / (1 + exp(-(double)x[i]));
}
