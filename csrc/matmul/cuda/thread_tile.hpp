// What the rungs whose threads compute 8 x 8 elements share: a block's tiles of 128 x 8, and a thread's sums.
#pragma once

#include "cuda/view.hpp"

constexpr int THREADS = 256;   // of a block
constexpr int SPAN = 128;      // rows and columns of a block's part of c
constexpr int DEPTH = 8;       // of a step
constexpr int PER_THREAD = 8;  // rows and columns: 64 sums and 16 factors in registers

// A thread's share of a step's tiles, in registers: one pack of floats of each tile, or two of doubles.
template <class T>
struct Fetched {
    static constexpr int WIDE = Pack<T>::size, PACKS = DEPTH * SPAN / WIDE / THREADS;
    Pack<T> a_packs[PACKS], b_packs[PACKS];

    __device__ void fetch(Matrix<const T> a, Matrix<const T> b, int i0, int j0, int p0, bool a_packed, bool b_packed) {
#pragma unroll
        for (int pack = 0; pack < PACKS; ++pack) {
            const int n = threadIdx.x + pack * THREADS;
            a_packs[pack] = pack_or_zero(a, i0 + n / (DEPTH / WIDE), p0 + n % (DEPTH / WIDE) * WIDE, a_packed);
            b_packs[pack] = pack_or_zero(b, p0 + n / (SPAN / WIDE), j0 + n % (SPAN / WIDE) * WIDE, b_packed);
        }
    }
    // Columns of a are stored as rows.
    __device__ void store(T (*a_tile)[SPAN], T (*b_tile)[SPAN]) const {
#pragma unroll
        for (int pack = 0; pack < PACKS; ++pack) {
            const int n = threadIdx.x + pack * THREADS;
            for (int part = 0; part < WIDE; ++part)
                a_tile[n % (DEPTH / WIDE) * WIDE + part][n / (DEPTH / WIDE)] = a_packs[pack].lane[part];
            b_packs[pack].to(&b_tile[n / (SPAN / WIDE)][n % (SPAN / WIDE) * WIDE]);
        }
    }
};

// A thread's sums: its rows are packs that begin at y, y + down, …, its columns packs that begin at x, x + across, ….
template <class T, int down, int across>
struct Sums {
    static constexpr int WIDE = Pack<T>::size, PACKS = PER_THREAD / WIDE;
    T sum[PER_THREAD][PER_THREAD] = {};

    __device__ void add_products(const T (*a_tile)[SPAN], const T (*b_tile)[SPAN], int y, int x, int depth) {
        for (int p = 0; p < depth; ++p) {
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
