// What kernels for tensor cores need: numbers of 16 bits, copies to shared memory, and the instructions of a whole
// warp.
//
// A tensor core multiplies small matrices that a warp's 32 threads hold together, each a few elements in registers: a
// fragment. Each function is one instruction of PTX (NVIDIA, PTX ISA; from compute capability 8.0 on), and all threads
// of a warp call it together. cuda_on_cpu/tensor_cores.hpp has the same functions for the simulation.
#pragma once

#include "cuda/view.hpp"

struct bfloat16 {  // a float's upper half: 8 bits of exponent, 7 of mantissa
    unsigned short bits;
};
struct float16 {  // IEEE's half: 5 bits of exponent, 10 of mantissa
    unsigned short bits;
};

// wmma's fragments of 16 x 16 elements: two elements in 32 bits. Which thread holds which elements, NVIDIA leaves open.
template <class T>
struct Factor {
    unsigned pairs[4];
};
template <>
struct Factor<float16> {
    unsigned pairs[8];
};
struct Square {
    float sums[8] = {};
};

// mma's fragments: 16 x 16 of a, 16 x 8 of b, 16 x 8 of c. With g = lane / 4 and t = 2 (lane % 4), a thread has
//
//     a   (g, t) (g, t + 1)   (g + 8, t) (g + 8, t + 1)   (g, t + 8) (g, t + 9)   (g + 8, t + 8) (g + 8, t + 9)
//     b   (t, g) (t + 1, g)   (t + 8, g) (t + 9, g)
//     c   (g, t) (g, t + 1)   (g + 8, t) (g + 8, t + 1)
struct AFragment {
    unsigned pairs[4];
};
struct BFragment {
    unsigned pairs[2];
};
struct CFragment {
    float sums[4] = {};
};

#ifdef LOOPNEST_ON_CPU
#include "cuda_on_cpu/tensor_cores.hpp"
#else

__device__ inline void round_to(float& y, float x) { y = x; }
__device__ inline void round_to(bfloat16& y, float x) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
__device__ inline void round_to(float16& y, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }

__device__ inline unsigned in_shared(const void* place) { return unsigned(__cvta_generic_to_shared(place)); }

// --- wmma. Addresses are multiples of 32 bytes; `stride` is the distance of two rows in elements, a multiple of 8.

#define LOOPNEST_4(constraint, x) constraint(x[0]), constraint(x[1]), constraint(x[2]), constraint(x[3])
#define LOOPNEST_8(constraint, x) \
    LOOPNEST_4(constraint, x), constraint(x[4]), constraint(x[5]), constraint(x[6]), constraint(x[7])
#define LOOPNEST_WMMA_LOAD(name, instruction, T, count, registers, address)                                       \
    __device__ inline void name(Factor<T>& factor, const T* from, int stride) {                                   \
        asm volatile(instruction " {" registers "}, " address ";"                                                 \
                     : LOOPNEST_##count("=r", factor.pairs) : "r"(in_shared(from)), "r"(stride) : "memory");      \
    }
#define LOOPNEST_WMMA(T, kind, kinds, count, of_a, of_b, address)                                                 \
    LOOPNEST_WMMA_LOAD(load_a, "wmma.load.a.sync.aligned.row.m16n16k16.shared." kind, T, count, of_a, address)    \
    LOOPNEST_WMMA_LOAD(load_b, "wmma.load.b.sync.aligned.row.m16n16k16.shared." kind, T, count, of_a, address)    \
    __device__ inline void multiply_add(Square& c, const Factor<T>& a, const Factor<T>& b) {                      \
        asm("wmma.mma.sync.aligned.row.row.m16n16k16." kinds " {%0, %1, %2, %3, %4, %5, %6, %7}, {" of_b "}, "    \
            "{%0, %1, %2, %3, %4, %5, %6, %7};"                                                                   \
            : LOOPNEST_8("+f", c.sums) : LOOPNEST_##count("r", a.pairs), LOOPNEST_##count("r", b.pairs));         \
    }
LOOPNEST_WMMA(bfloat16, "bf16", "f32.bf16.bf16.f32", 4, "%0, %1, %2, %3", "%8, %9, %10, %11}, {%12, %13, %14, %15",
              "[%4], %5")
LOOPNEST_WMMA(float16, "f16", "f32.f32", 8, "%0, %1, %2, %3, %4, %5, %6, %7",
              "%8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19, %20, %21, %22, %23", "[%8], %9")

// To shared memory. Here the stride is a multiple of 4.
__device__ inline void store(const Square& c, float* to, int stride) {
    asm volatile("wmma.store.d.sync.aligned.row.m16n16k16.shared.f32 [%8], {%0, %1, %2, %3, %4, %5, %6, %7}, %9;"
                 :: LOOPNEST_8("f", c.sums), "r"(in_shared(to)), "r"(stride) : "memory");
}

// --- mma

#define LOOPNEST_MMA(name, kind)                                                                                  \
    __device__ inline void multiply_add(CFragment& c, const AFragment& a, const BFragment& b, name) {             \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." kind "." kind ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "    \
            "{%8, %9}, {%0, %1, %2, %3};"                                                                         \
            : LOOPNEST_4("+f", c.sums) : LOOPNEST_4("r", a.pairs), "r"(b.pairs[0]), "r"(b.pairs[1]));             \
    }
LOOPNEST_MMA(bfloat16, "bf16")
LOOPNEST_MMA(float16, "f16")

// Four matrices of 8 x 8. The lanes 8 n … 8 n + 7 give the rows of matrix n, 16 bytes each, at multiples of 16 bytes in
// shared memory. pairs[n] is then the elements (g, t) and (g, t + 1) of matrix n, or of its transposed.
__device__ inline void ldmatrix(unsigned (&pairs)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : LOOPNEST_4("=r", pairs) : "r"(in_shared(row)) : "memory");
}
__device__ inline void ldmatrix_transposed(unsigned (&pairs)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : LOOPNEST_4("=r", pairs) : "r"(in_shared(row)) : "memory");
}

// --- cp.async: copies to shared memory that pass by the registers, and go on while the thread does

// Copies the first `filled` bytes of 16, and zeros after them. Both addresses are multiples of 16.
__device__ inline void cp_async(void* to, const void* from, int filled) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(in_shared(to)), "l"(from), "r"(filled)
                 : "memory");
}
// The copies since the last call are a group.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until only the newest `groups` groups of this thread may still be under way.
template <int groups>
__device__ inline void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" :: "n"(groups) : "memory");
}

#endif
