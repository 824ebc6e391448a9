// tanh: the hyperbolic tangent.
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check tanh.cu --op tanh

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void tanh_kernel(const float* x, float* y, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = tanh((double)x[i]);
}
