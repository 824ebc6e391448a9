// Four floats or two doubles at once: a quarter of the load and store instructions, and more bytes under way.
//
//     y = gelu(x)        dx = dy ⊙ gelu'(x)        elementwise, in the tanh form or the exact one
//
// The grid-stride loop goes over packs of 16 bytes, as float4, and the first threads take the elements that are left at
// the end. Memory's latency times its bandwidth is the number of bytes that must be under way at any time: 4.8 TB/s and
// 0.65 µs, an H200's, make 3.1 MB. A thread loads two packs before it computes: 1,024 blocks have 4.2 MB under way, and
// one pack each would be 2.1. (Luitjens, CUDA Pro Tip: Increase Performance with Vectorized Memory Access, 2013.) The
// limit is the memory's bandwidth, and before that the transfer.
#include "gelu/cuda/formulas.hpp"
#include "cuda/view.hpp"

// launch: grid=min(ceil_div(n, 512), 1024) block=128
template <class T>
__global__ void gelu_vectorized(const T* x, T* y, long long n, bool tanh_form) {
    constexpr int WIDE = Pack<T>::size;
    const long long me = (long long)blockIdx.x * blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
    for (long long i = me; i < n / WIDE; i += 2 * stride) {
        const bool two = i + stride < n / WIDE;
        Pack<T> pack = Pack<T>::from(x + i * WIDE), next = two ? Pack<T>::from(x + (i + stride) * WIDE) : pack;
        for (T& value : pack.lane) value = gelu(value, tanh_form);
        pack.to(y + i * WIDE);
        for (T& value : next.lane) value = gelu(value, tanh_form);
        if (two) next.to(y + (i + stride) * WIDE);
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
