// add: c = a + b, element by element.
//
// Right, and slow: a thread for each element of the result.
// What to try first: a tile in shared memory, where a block's threads need the same elements.
//
//     loopnest check add.cu --op add

// launch: grid=((n + 255) / 256) block=(256)
extern "C" __global__ void add(const float* a, const float* b, float* c, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    c[i] = a[i] + b[i];
}
