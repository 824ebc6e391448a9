// sgd: param ← param - lr · grad, in place.
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check sgd.cu --op sgd

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void sgd(float* param, const float* grad, long n, double lr) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    param[i] -= lr * grad[i];
}
