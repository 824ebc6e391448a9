// Four floats or two doubles at once: a quarter of the load and store instructions, and more bytes under way.
//
//     y = gelu(x)        dx = dy ⊙ gelu'(x)        elementwise, in the tanh form or the exact one
//
// The grid-stride loop goes over packs of 16 bytes, as float4, and the first threads take the elements that are left at
// the end. Memory's latency times its bandwidth is the number of bytes that must be under way at any time, some 40 KiB
// a multiprocessor on an H100. With wider loads fewer threads are enough for that (Luitjens, CUDA Pro Tip: Increase
// Performance with Vectorized Memory Access, 2013). The limit is the memory's bandwidth, and before that the transfer.
#include "gelu/cuda/formulas.hpp"
#include "cuda/view.hpp"

// launch: grid=min(ceil_div(n, 512), 1024) block=128
template <class T>
__global__ void gelu_vectorized(const T* x, T* y, long long n, bool tanh_form) {
    constexpr int WIDE = Pack<T>::size;
    const long long me = (long long)blockIdx.x * blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = me; i < n / WIDE; i += stride) {
        Pack<T> pack = Pack<T>::from(x + i * WIDE);
        for (T& value : pack.lane) value = gelu(value, tanh_form);
        pack.to(y + i * WIDE);
    }
    const long long rest = n / WIDE * WIDE + me;
    if (rest < n) y[rest] = gelu(x[rest], tanh_form);
}

// launch: grid=min(ceil_div(n, 512), 1024) block=128
template <class T>
__global__ void gelu_backward_vectorized(const T* x, const T* dy, T* dx, long long n, bool tanh_form) {
    constexpr int WIDE = Pack<T>::size;
    const long long me = (long long)blockIdx.x * blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = me; i < n / WIDE; i += stride) {
        const Pack<T> at = Pack<T>::from(x + i * WIDE);
        Pack<T> pack = Pack<T>::from(dy + i * WIDE);
        for (int lane = 0; lane < WIDE; ++lane) pack.lane[lane] *= gelu_slope(at.lane[lane], tanh_form);
        pack.to(dx + i * WIDE);
    }
    const long long rest = n / WIDE * WIDE + me;
    if (rest < n) dx[rest] = dy[rest] * gelu_slope(x[rest], tanh_form);
}
