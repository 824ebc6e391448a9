// A thread for one element or several: each starts at its own number and strides by the grid's size.
//
//     y = gelu(x)        dx = dy ⊙ gelu'(x)        elementwise, in the tanh form or the exact one
//
// Neighbouring threads take neighbouring elements, so every access of a warp is one of 128 bytes. The loop makes the
// grid's size free: enough threads to fill the device, and no more to start (Harris, CUDA Pro Tip: Write Flexible
// Kernels with Grid-Stride Loops, 2013). An exponential and a division an element are little for a GPU. The limit is
// its memory's bandwidth, and before that the transfer from the host and back, which is part of the call.
#include "gelu/cuda/formulas.hpp"

// launch: grid=min(ceil_div(n, 128), 1024) block=128
template <class T>
__global__ void gelu_elementwise(const T* x, T* y, long long n, bool tanh_form) {
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride)
        y[i] = gelu(x[i], tanh_form);
}

// launch: grid=min(ceil_div(n, 128), 1024) block=128
template <class T>
__global__ void gelu_backward_elementwise(const T* x, const T* dy, T* dx, long long n, bool tanh_form) {
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride)
        dx[i] = dy[i] * gelu_slope(x[i], tanh_form);
}
