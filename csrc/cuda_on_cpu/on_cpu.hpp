// CUDA's words for a C++ compiler: the same .cu source runs on a CPU, to be checked and not to be timed.
//
//     __global__ void f(...)      a function; on_cpu.cpp calls it once for every thread of every block
//     threadIdx, blockDim, …      set whenever a thread goes on
//     __shared__                  memory of the running block; NaN before it starts, so that unwritten memory shows
//     __syncthreads()             all threads of the block arrive before one goes on
//     __shfl_sync(), …            the threads of a warp that the mask names arrive, and see each other's values
//
// Blocks run in turn. A block's threads are fibers: each runs until it waits, and the order changes from barrier to
// barrier, so that a missing one shows every time. That takes 40 ns a thread and barrier. Unlike a GPU, this has no
// warps in lock step, no caches that differ between blocks, and no limits of registers.
#pragma once

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __managed__
#define __shared__ thread_local  // a block has a thread of the system at a time, so a block's memory is this thread's
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __CUDA_ARCH__ 900
#define __CUDACC__ 1
#define LOOPNEST_ON_CPU 1

// --- vectors

#define LOOPNEST_VECTORS(T, name, of_2, of_4)                                                        \
    struct alignas(of_2) name##2 { T x, y; };                                                        \
    struct name##3 { T x, y, z; };                                                                   \
    struct alignas(of_4) name##4 { T x, y, z, w; };                                                  \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                       \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                               \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
LOOPNEST_VECTORS(float, float, 8, 16)
LOOPNEST_VECTORS(double, double, 16, 16)
LOOPNEST_VECTORS(int, int, 8, 16)
LOOPNEST_VECTORS(unsigned, uint, 8, 16)
LOOPNEST_VECTORS(short, short, 4, 8)
LOOPNEST_VECTORS(unsigned short, ushort, 4, 8)
LOOPNEST_VECTORS(signed char, char, 2, 4)
LOOPNEST_VECTORS(unsigned char, uchar, 2, 4)
LOOPNEST_VECTORS(long long, longlong, 16, 16)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

inline constexpr int warpSize = 32;

// --- what on_cpu.cpp does

namespace loopnest::on_cpu {

extern uint3 thread, block;
extern dim3 threads, blocks;  // of a block, and of the grid

constexpr size_t most_given = 32;  // bytes that a thread can bring to an exchange

struct Seen {
    unsigned mask;                             // of the threads that arrived
    unsigned char const (*value)[most_given];  // what each of the 32 brought, until this thread's next exchange
};

struct Copy {  // to shared memory, by cp.async
    unsigned char* to;
    const unsigned char* from;
    int filled;  // bytes; the others of 16 become 0
    int group;
};

int count_in_block(int line, bool yes);    // waits, and returns how many said yes
void wait_in_warp(unsigned mask, int line, bool orders);  // orders: __syncwarp orders memory, a shuffle does not
Seen exchange(unsigned mask, const void* value, size_t size, int line);
unsigned lane();
void start_copy(const Copy& copy);
void commit_copies();
bool end_copy(int groups, Copy& ended);  // the next copy of this thread that is in none of its newest groups, if any is
void poll();
void* dynamic_shared();
[[noreturn]] void trap(int line);

using Call = void (*)(void** arguments);
struct Kernel {
    const char* name;
    Call call;
};

template <auto kernel>
struct Caller;
template <class... Parameters, void (*kernel)(Parameters...)>
struct Caller<kernel> {
    struct Run {
        Run(Parameters... values) { kernel(values...); }
    };
    static void call([[maybe_unused]] void** arguments) {
        Run{*static_cast<Parameters*>(*arguments++)...};  // braces: from left to right
    }
};

template <class T>
T value_of(const unsigned char* bytes) {
    T value;
    __builtin_memcpy(&value, bytes, sizeof(T));
    return value;
}

// The value of lane `source`, or this lane's own if that lane takes no part.
template <class T>
T shuffle(unsigned mask, T mine, int source, int line) {
    static_assert(sizeof(T) <= most_given);
    const Seen seen = exchange(mask, &mine, sizeof(T), line);
    return (seen.mask >> source & 1u) ? value_of<T>(seen.value[source]) : mine;
}

template <class T, class Combine>
T reduce(unsigned mask, T mine, Combine combine, int line) {
    const Seen seen = exchange(mask, &mine, sizeof(T), line);
    const int first = __builtin_ctz(seen.mask);  // this lane has one, if no other
    T all = value_of<T>(seen.value[first]);
    for (int i = first + 1; i < 32; ++i)
        if (seen.mask >> i & 1u) all = combine(all, value_of<T>(seen.value[i]));
    return all;
}

}  // namespace loopnest::on_cpu

#define threadIdx (::loopnest::on_cpu::thread)
#define blockIdx (::loopnest::on_cpu::block)
#define blockDim (::loopnest::on_cpu::threads)
#define gridDim (::loopnest::on_cpu::blocks)

// --- barriers, and the exchange within a warp. __builtin_LINE() as a default is the line of the call.

#define LOOPNEST_LINE int line = __builtin_LINE()

inline void __syncthreads(LOOPNEST_LINE) { loopnest::on_cpu::count_in_block(line, false); }
inline int __syncthreads_count(int yes, LOOPNEST_LINE) { return loopnest::on_cpu::count_in_block(line, yes != 0); }
inline int __syncthreads_or(int yes, LOOPNEST_LINE) { return loopnest::on_cpu::count_in_block(line, yes != 0) > 0; }
inline int __syncthreads_and(int yes, LOOPNEST_LINE) { return loopnest::on_cpu::count_in_block(line, yes == 0) == 0; }
inline void __syncwarp(unsigned mask = ~0u, LOOPNEST_LINE) { loopnest::on_cpu::wait_in_warp(mask, line, true); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __nanosleep(unsigned) { loopnest::on_cpu::poll(); }
inline void __trap(LOOPNEST_LINE) { loopnest::on_cpu::trap(line); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, LOOPNEST_LINE) {
    const int first = int(loopnest::on_cpu::lane()) & ~(width - 1);
    return loopnest::on_cpu::shuffle(mask, value, first + (source & (width - 1)), line);
}
#define LOOPNEST_SHUFFLE(name, By, from, is_outside)                                                    \
    template <class T>                                                                                 \
    T name(unsigned mask, T value, By by, int width = 32, LOOPNEST_LINE) {                             \
        const int lane = int(loopnest::on_cpu::lane()), source = from;                                 \
        return loopnest::on_cpu::shuffle(mask, value, (is_outside) ? lane : source, line);             \
    }
LOOPNEST_SHUFFLE(__shfl_up_sync, unsigned, lane - int(by), source < (lane & ~(width - 1)))
LOOPNEST_SHUFFLE(__shfl_down_sync, unsigned, lane + int(by), source > (lane | (width - 1)))
LOOPNEST_SHUFFLE(__shfl_xor_sync, int, lane ^ by, source > (lane | (width - 1)))
inline unsigned __ballot_sync(unsigned mask, int yes, LOOPNEST_LINE) {
    const unsigned bit = yes ? 1u << loopnest::on_cpu::lane() : 0u;
    return loopnest::on_cpu::reduce(mask, bit, [](unsigned a, unsigned b) { return a | b; }, line);
}
inline int __any_sync(unsigned mask, int yes, LOOPNEST_LINE) { return __ballot_sync(mask, yes, line) != 0; }
inline int __all_sync(unsigned mask, int yes, LOOPNEST_LINE) { return __ballot_sync(mask, !yes, line) == 0; }
inline unsigned __activemask(LOOPNEST_LINE) { return __ballot_sync(~0u, 1, line); }
#define LOOPNEST_REDUCE(name, combined)                                                                 \
    template <class T>                                                                                  \
    T name(unsigned mask, T value, LOOPNEST_LINE) {                                                     \
        return loopnest::on_cpu::reduce(mask, value, [](T a, T b) -> T { return combined; }, line);     \
    }
LOOPNEST_REDUCE(__reduce_add_sync, T(a + b))
LOOPNEST_REDUCE(__reduce_max_sync, a < b ? b : a)
LOOPNEST_REDUCE(__reduce_min_sync, b < a ? b : a)

// --- atomics

namespace loopnest::on_cpu {
template <class T, class Change>
T change(T* place, Change of) {
    poll();
    T old, wanted;
    __atomic_load(place, &old, __ATOMIC_RELAXED);
    do
        wanted = of(old);
    while (!__atomic_compare_exchange(place, &old, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template <class T>
using As = std::type_identity_t<T>;  // a parameter that takes no part in finding T
}  // namespace loopnest::on_cpu

#define LOOPNEST_ATOMIC(name, becomes)                                                     \
    template <class T>                                                                     \
    T name(T* place, loopnest::on_cpu::As<T> by) {                                         \
        return loopnest::on_cpu::change(place, [by](T old) -> T { return (becomes); });    \
    }                                                                                      \
    template <class T>                                                                     \
    T name##_block(T* place, loopnest::on_cpu::As<T> by) {                                 \
        return name(place, by);                                                            \
    }
LOOPNEST_ATOMIC(atomicAdd, T(old + by))
LOOPNEST_ATOMIC(atomicSub, T(old - by))
LOOPNEST_ATOMIC(atomicMin, by < old ? by : old)
LOOPNEST_ATOMIC(atomicMax, old < by ? by : old)
LOOPNEST_ATOMIC(atomicExch, (void(old), by))
LOOPNEST_ATOMIC(atomicAnd, T(old& by))
LOOPNEST_ATOMIC(atomicOr, T(old | by))
LOOPNEST_ATOMIC(atomicXor, T(old ^ by))
LOOPNEST_ATOMIC(atomicInc, old >= by ? T(0) : T(old + 1))
template <class T>
T atomicCAS(T* place, loopnest::on_cpu::As<T> expected, loopnest::on_cpu::As<T> wanted) {
    loopnest::on_cpu::poll();
    __atomic_compare_exchange(place, &expected, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

// --- loads, conversions, arithmetic

#define LOOPNEST_LOAD(name) \
    template <class T>      \
    T name(const T* place) { return *place; }
LOOPNEST_LOAD(__ldg) LOOPNEST_LOAD(__ldca) LOOPNEST_LOAD(__ldcg) LOOPNEST_LOAD(__ldcs) LOOPNEST_LOAD(__ldcv)

#define LOOPNEST_STORE(name) \
    template <class T>       \
    void name(T* place, loopnest::on_cpu::As<T> value) { *place = value; }
LOOPNEST_STORE(__stcg) LOOPNEST_STORE(__stcs)

#define LOOPNEST_OF_ONE(T, name, becomes) inline T name(T x) { return becomes; }
#define LOOPNEST_OF_TWO(T, name, becomes) inline T name(T x, T y) { return becomes; }
LOOPNEST_OF_TWO(float, __fadd_rn, x + y)
LOOPNEST_OF_TWO(float, __fsub_rn, x - y)
LOOPNEST_OF_TWO(float, __fmul_rn, x * y)
LOOPNEST_OF_TWO(float, __fdiv_rn, x / y)
LOOPNEST_OF_TWO(float, __fdividef, x / y)
LOOPNEST_OF_TWO(float, __powf, powf(x, y))
LOOPNEST_OF_ONE(float, __frcp_rn, 1 / x)
LOOPNEST_OF_ONE(float, __fsqrt_rn, sqrtf(x))
LOOPNEST_OF_ONE(float, __expf, expf(x))
LOOPNEST_OF_ONE(float, __logf, logf(x))
LOOPNEST_OF_ONE(float, __log2f, log2f(x))
LOOPNEST_OF_ONE(float, __sinf, sinf(x))
LOOPNEST_OF_ONE(float, __cosf, cosf(x))
LOOPNEST_OF_ONE(float, __saturatef, x < 0 ? 0 : x > 1 ? 1 : x == x ? x : 0)
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752440f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

#define LOOPNEST_MIN_MAX(T)                              \
    inline T min(T a, T b) { return b < a ? b : a; }     \
    inline T max(T a, T b) { return a < b ? b : a; }
LOOPNEST_MIN_MAX(int)
LOOPNEST_MIN_MAX(unsigned)
LOOPNEST_MIN_MAX(long)
LOOPNEST_MIN_MAX(unsigned long)
LOOPNEST_MIN_MAX(long long)
LOOPNEST_MIN_MAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// --- the host's side: what a file with its own launches and main() needs to compile. None of it runs: the launches
// come from outside.

namespace loopnest::on_cpu {
template <class... Arguments>
void no_launch_from_here(Arguments&&...) {}
}  // namespace loopnest::on_cpu

using cudaStream_t = void*;
using cudaEvent_t = void*;
using cudaError_t = int;
enum { cudaSuccess = 0 };
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice,
                      cudaMemcpyDefault };
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock;
    int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock;
};
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline const char* cudaGetErrorName(cudaError_t) { return ""; }

#define LOOPNEST_HOST(name)       \
    template <class... Arguments> \
    cudaError_t name(Arguments&&...) { return cudaSuccess; }
LOOPNEST_HOST(cudaMalloc) LOOPNEST_HOST(cudaMallocManaged) LOOPNEST_HOST(cudaMallocHost) LOOPNEST_HOST(cudaFree)
LOOPNEST_HOST(cudaFreeHost) LOOPNEST_HOST(cudaMemcpy) LOOPNEST_HOST(cudaMemcpyAsync) LOOPNEST_HOST(cudaMemcpyToSymbol)
LOOPNEST_HOST(cudaMemset) LOOPNEST_HOST(cudaDeviceSynchronize) LOOPNEST_HOST(cudaGetLastError)
LOOPNEST_HOST(cudaPeekAtLastError) LOOPNEST_HOST(cudaSetDevice) LOOPNEST_HOST(cudaGetDevice)
LOOPNEST_HOST(cudaGetDeviceProperties) LOOPNEST_HOST(cudaFuncSetAttribute) LOOPNEST_HOST(cudaStreamCreate)
LOOPNEST_HOST(cudaStreamSynchronize) LOOPNEST_HOST(cudaStreamDestroy) LOOPNEST_HOST(cudaEventCreate)
LOOPNEST_HOST(cudaEventRecord) LOOPNEST_HOST(cudaEventSynchronize) LOOPNEST_HOST(cudaEventElapsedTime)
LOOPNEST_HOST(cudaEventDestroy)
#define cudaFuncAttributeMaxDynamicSharedMemorySize 8
