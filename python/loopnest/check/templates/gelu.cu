// gelu: GELU in its tanh form, x · σ(w) with w = 2 √(2/π) (x + 0.044715 x³) and σ(w) = 1 / (1 + exp(-w)).
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check gelu.cu --op gelu

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void gelu(const float* x, float* y, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double v = (double)x[i];
    double w = 1.5957691216057308 * (v + 0.044715 * v * v * v);
    y[i] = v / (1 + exp(-w));
}
