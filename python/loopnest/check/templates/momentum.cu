// momentum: velocity ← mu · velocity + grad; param ← param - lr · velocity, in place.
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check momentum.cu --op momentum

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void momentum(float* param, const float* grad, float* velocity, long n, double lr, double mu) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    velocity[i] = mu * velocity[i] + grad[i];
    param[i] -= lr * velocity[i];
}
