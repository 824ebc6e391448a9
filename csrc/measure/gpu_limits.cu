// What a GPU reaches at most: multiply-adds in registers, reads and copies of memory, reads of shared memory, a launch.
//
//     peak        sums[c] = sums[c] * factor + term, CHAINS independent chains in each thread
//     tensor      sums[c] += a b, products of 16 x 16 by 16 x 8 of a warp, by mma.sync. Hopper's wgmma, which cuBLAS
//                 takes there, is faster
//     bandwidth   total += x[i]        y[i] = x[i]        16 bytes a thread at a time
//     shared      total += tile[place]                    16 bytes a thread at a time, without conflicts of banks
//
// python/loopnest/machine/gpu.py launches these kernels and times them by the GPU's events. Every thread stores a
// result that depends on all of its work, so that no compiler leaves work out.
#include "cuda/tensor_cores.hpp"

constexpr int CHAINS = 16, PRODUCTS = 8, THREADS = 256, TILE = 2 * THREADS;

__device__ inline long long me() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// operands: the factor and the term.
// launch: grid=blocks block=256
template <class T>
__global__ void __launch_bounds__(THREADS) limit_multiply_adds(const T* operands, T* out, int steps, int blocks) {
    const T factor = operands[0], term = operands[1];
    T sums[CHAINS];
#pragma unroll
    for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = T(chain);
#pragma unroll 8
    for (int step = 0; step < steps; ++step)
#pragma unroll
        for (int chain = 0; chain < CHAINS; ++chain) sums[chain] = sums[chain] * factor + term;
    T total = 0;
#pragma unroll
    for (int chain = 0; chain < CHAINS; ++chain) total += sums[chain];
    out[me()] = total;
}

// Every element of the factors is operands[0].
// types: <bfloat16> <float16>
// launch: grid=blocks block=256
template <class T>
__global__ void __launch_bounds__(THREADS) limit_products(const T* operands, float* out, int steps, int blocks) {
    const unsigned pair = operands[0].bits * 0x10001u;
    const AFragment a = {{pair, pair, pair, pair}};
    const BFragment b = {{pair, pair}};
    CFragment sums[PRODUCTS];
#pragma unroll
    for (int c = 0; c < PRODUCTS; ++c) sums[c].sums[0] = float(c);  // no two chains are equal
#pragma unroll 4
    for (int step = 0; step < steps; ++step)
#pragma unroll
        for (CFragment& c : sums) multiply_add(c, a, b, T());
    float total = 0;
#pragma unroll
    for (const CFragment& c : sums) total += c.sums[0] + c.sums[1] + c.sums[2] + c.sums[3];
    out[me()] = total;
}

// launch: grid=blocks block=256
template <class T>
__global__ void __launch_bounds__(THREADS)
    limit_read(const T* __restrict__ x, T* out, long long packs, int passes, int blocks) {
    constexpr int WIDE = Pack<T>::size;
    T total = 0;
    for (int pass = 0; pass < passes; ++pass)
#pragma unroll 4
        for (long long i = me(); i < packs; i += (long long)gridDim.x * THREADS) {
            const Pack<T> pack = Pack<T>::from(x + i * WIDE);
#pragma unroll
            for (int lane = 0; lane < WIDE; ++lane) total += pack.lane[lane];
        }
    out[me()] = total;
}

// launch: grid=blocks block=256
template <class T>
__global__ void __launch_bounds__(THREADS)
    limit_copy(const T* __restrict__ x, T* __restrict__ y, long long packs, int blocks) {
#pragma unroll 4
    for (long long i = me(); i < packs; i += (long long)gridDim.x * THREADS)
        Pack<T>::from(x + i * Pack<T>::size).to(y + i * Pack<T>::size);
}

// x has TILE packs. Each step reads another place, which the compiler does not know.
// launch: grid=blocks block=256
template <class T>
__global__ void __launch_bounds__(THREADS) limit_shared(const T* x, T* out, int steps, unsigned hop, int blocks) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ Pack<T> tile[TILE];
    const unsigned first = threadIdx.x;
    tile[first] = Pack<T>::from(x + first * WIDE);
    tile[first + THREADS] = Pack<T>::from(x + (first + THREADS) * WIDE);
    __syncthreads();  // the tile is complete
    Pack<T> totals = {};
    unsigned place = threadIdx.x;
#pragma unroll 8
    for (int step = 0; step < steps; ++step, place = (place + hop) % TILE) {
        const Pack<T> pack = tile[place];
#pragma unroll
        for (int lane = 0; lane < WIDE; ++lane) totals.lane[lane] += pack.lane[lane];
    }
    T total = 0;
#pragma unroll
    for (int lane = 0; lane < WIDE; ++lane) total += totals.lane[lane];
    out[me()] = total;
}

// launch: grid=1 block=32
template <class T>
__global__ void limit_launch(T* out) {
    if (threadIdx.x == 0) out[0] = T(1);
}
