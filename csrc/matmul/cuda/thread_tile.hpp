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

// Both tiles have a row for each p, which is longer by a pack, so that a warp that turns packs stores to all banks.
template <class T>
constexpr int ROW = SPAN + Pack<T>::size;

// A thread's share of the tiles of a or of bᵀ, in registers: a pack of floats for each step, or two of doubles. A pack
// lies along p or across it, as the elements in memory do. The place moves on: no step computes an address anew.
template <class T>
struct Share {
    static constexpr int WIDE = Pack<T>::size, PACKS = DEPTH * SPAN / WIDE / THREADS;
    static constexpr int ALONG = DEPTH / WIDE, ACROSS = SPAN / WIDE;  // packs in a row of the matrix, or of the tile
    Matrix<const T> from;
    bool along, packed;
    int row, p;  // in the tile
    int i, j;    // in the matrix
    const T* place;
    Pack<T> packs[PACKS];

    __device__ Share(Matrix<const T> from, int i0)
        : from(from), along(from.col_stride <= from.row_stride), packed(in_packs(along ? from : from.transposed())) {
        row = along ? threadIdx.x / ALONG : threadIdx.x % ACROSS * WIDE;
        p = along ? threadIdx.x % ALONG * WIDE : threadIdx.x / ACROSS;
        i = i0 + row;
        j = p;
        place = &from(i, j);
    }
    // The next step's share. inside: the matrix is packed, and holds all of it.
    template <bool inside = false>
    __device__ void fetch() {
#pragma unroll
        for (int n = 0; n < PACKS; ++n) {
            const int down = along ? n * THREADS / ALONG : 0, on = along ? 0 : n * THREADS / ACROSS;
            const int last = WIDE - 1;
            const T* const first = place + down * from.row_stride + on * from.col_stride;
            if (inside || (packed && from.holds(i + down + (along ? 0 : last), j + on + (along ? last : 0)))) {
                packs[n] = Pack<T>::from(first);
                continue;
            }
#pragma unroll
            for (int part = 0; part < WIDE; ++part) {
                const bool held = from.holds(i + down + (along ? 0 : part), j + on + (along ? part : 0));
                packs[n].lane[part] = held ? first[part * (along ? from.col_stride : from.row_stride)] : T{};
            }
        }
        j += DEPTH;
        place += DEPTH * from.col_stride;
    }
    __device__ void store(T (*tile)[ROW<T>]) const {
#pragma unroll
        for (int n = 0; n < PACKS; ++n)
            if (along)
                for (int part = 0; part < WIDE; ++part) tile[p + part][row + n * THREADS / ALONG] = packs[n].lane[part];
            else
                packs[n].to(&tile[p + n * THREADS / ACROSS][row]);
    }
};

// A thread's sums: its rows are packs that begin at y, y + down, …, its columns packs that begin at x, x + across, ….
template <class T, int down, int across>
struct Sums {
    static constexpr int WIDE = Pack<T>::size, PACKS = PER_THREAD / WIDE;
    T sum[PER_THREAD][PER_THREAD] = {};

    // at_once: how many values of p are one piece of code, which takes more registers.
    template <int at_once = DEPTH>
    __device__ void add_products(const T (*a_tile)[ROW<T>], const T (*b_tile)[ROW<T>], int y, int x) {
#pragma unroll at_once
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
