// What the rungs whose threads compute 8 x 8 elements share: a block's tiles of 128 x 8, and a thread's sums.
#pragma once

#include "cuda/view.hpp"

constexpr int THREADS = 256;   // of a block
constexpr int SPAN = 128;      // rows and columns of a block's part of c
constexpr int DEPTH = 8;       // of a step
constexpr int PER_THREAD = 8;  // rows and columns: 64 sums and 16 factors in registers

// A warp's lanes as 4 x 8. Lanes 0 and 1 load the same of b, 0 and 2 the same of a: shared memory then serves 16 lanes
// with loads of 16 bytes at a time and not 8, which is why CUTLASS numbers lanes so.
constexpr int LANES_DOWN = 4, LANES_ACROSS = 8;
__device__ inline int lane_down() { return threadIdx.x % 32 / 16 * 2 + threadIdx.x % 2; }
__device__ inline int lane_across() { return threadIdx.x % 16 / 2; }

// Blocks that a multiprocessor holds at once, which gives a thread of floats 128 registers.
template <class T>
constexpr int BLOCKS = sizeof(T) == 4 ? 2 : 1;

// A tile of a has its columns as rows. These are longer by a pack, so that a warp stores 32 elements to 32 banks.
template <class T>
constexpr int A_SPAN = SPAN + Pack<T>::size;

// A thread's place in a matrix, which moves on from step to step: no step computes an address anew.
template <class T>
struct Source {
    Matrix<const T> from;
    int i, j;
    const T* place;
    bool packed;

    __device__ Source(Matrix<const T> from, int i, int j)
        : from(from), i(i), j(j), place(&from(i, j)), packed(in_packs(from)) {}
    // inside: the matrix is `packed`, and holds the whole pack.
    template <bool inside>
    __device__ Pack<T> pack(int down) const {
        const T* const first = place + down * from.row_stride;
        if (inside) return Pack<T>::from(first);
        if (packed && from.holds(i + down, j + Pack<T>::size - 1)) return Pack<T>::from(first);
        Pack<T> pack;
#pragma unroll
        for (int n = 0; n < Pack<T>::size; ++n)
            pack.lane[n] = from.holds(i + down, j + n) ? first[n * from.col_stride] : T{};
        return pack;
    }
    __device__ void move(int down, int across) {
        i += down;
        j += across;
        place += down * from.row_stride + across * (packed ? 1 : from.col_stride);
    }
};

// A thread's share of a step's tiles, in registers: one pack of floats of each tile, or two of doubles.
template <class T>
struct Fetched {
    static constexpr int WIDE = Pack<T>::size, PACKS = DEPTH * SPAN / WIDE / THREADS;
    static constexpr int A_PACKS = DEPTH / WIDE, B_PACKS = SPAN / WIDE;  // in a row
    Source<T> a, b;
    Pack<T> a_packs[PACKS], b_packs[PACKS];

    __device__ Fetched(Matrix<const T> a, Matrix<const T> b, int i0, int j0)
        : a(a, i0 + threadIdx.x / A_PACKS, threadIdx.x % A_PACKS * WIDE),
          b(b, threadIdx.x / B_PACKS, j0 + threadIdx.x % B_PACKS * WIDE) {}
    // The next step's tiles.
    template <bool inside = false>
    __device__ void fetch() {
#pragma unroll
        for (int n = 0; n < PACKS; ++n) {
            a_packs[n] = a.template pack<inside>(n * THREADS / A_PACKS);
            b_packs[n] = b.template pack<inside>(n * THREADS / B_PACKS);
        }
        a.move(0, DEPTH);
        b.move(DEPTH, 0);
    }
    __device__ void store(T (*a_tile)[A_SPAN<T>], T (*b_tile)[SPAN]) const {
#pragma unroll
        for (int n = 0; n < PACKS; ++n) {
            const int i = (threadIdx.x + n * THREADS) / A_PACKS, p = threadIdx.x % A_PACKS * WIDE;
            for (int part = 0; part < WIDE; ++part) a_tile[p + part][i] = a_packs[n].lane[part];
            b_packs[n].to(&b_tile[(threadIdx.x + n * THREADS) / B_PACKS][threadIdx.x % B_PACKS * WIDE]);
        }
    }
};

// A thread's sums: its rows are packs that begin at y, y + down, …, its columns packs that begin at x, x + across, ….
template <class T, int down, int across>
struct Sums {
    static constexpr int WIDE = Pack<T>::size, PACKS = PER_THREAD / WIDE;
    T sum[PER_THREAD][PER_THREAD] = {};

    __device__ void add_products(const T (*a_tile)[A_SPAN<T>], const T (*b_tile)[SPAN], int y, int x) {
#pragma unroll
        for (int p = 0; p < DEPTH; ++p) {
            Pack<T> a_part[PACKS], b_part[PACKS];
            for (int n = 0; n < PACKS; ++n) {
                a_part[n] = Pack<T>::from(&a_tile[p][y + n * down]);
                b_part[n] = Pack<T>::from(&b_tile[p][x + n * across]);
            }
            for (int i = 0; i < PER_THREAD; ++i)
                for (int j = 0; j < PER_THREAD; ++j)
                    sum[i][j] += a_part[i / WIDE].lane[i % WIDE] * b_part[j / WIDE].lane[j % WIDE];
        }
    }
    __device__ void store(Matrix<T> c, int y, int x, bool packed) const {
        for (int i = 0; i < PER_THREAD; ++i)
            for (int n = 0; n < PACKS; ++n) {
                Pack<T> pack;
                for (int part = 0; part < WIDE; ++part) pack.lane[part] = sum[i][n * WIDE + part];
                store_pack(pack, c, y + i / WIDE * down + i % WIDE, x + n * across, packed);
            }
    }
};
