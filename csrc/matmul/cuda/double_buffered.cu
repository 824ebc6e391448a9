// Two pairs of tiles: while the warps multiply one, the next is on its way from memory.
//
//     fetch(0); for each step s: fetch(s + 1) into registers; multiply tiles[s % 2]; store them to tiles[(s + 1) % 2]
//
// A load from the device's memory takes some 500 cycles. It is issued before the multiplications of a step and stored
// after them, so it has their time to arrive. With two pairs of tiles one barrier a step is enough: no thread writes
// the pair that others may still read, and a thread is at most one step ahead. The tiles are `warp_tiled`'s. From
// compute capability 8.0 on, cp.async copies to shared memory without the detour through registers (CUDA C++
// Programming Guide, Asynchronous Data Copies); this form runs everywhere. The limit is the multiprocessors'
// multiply-adds. For float32 only tensor cores are faster, in lower precision.
#include "cuda/view.hpp"

constexpr int WARP_ROWS = 32, WARP_COLS = 64;  // of a warp's tile
constexpr int WARPS = 8, WARPS_DOWN = 4;       // four tiles down, two across
constexpr int SPAN = 128;
constexpr int DEPTH = 8;
constexpr int PER_THREAD = 8;                  // 64 sums and 16 factors in registers
constexpr int LANES_DOWN = 4, LANES_ACROSS = 8;

// A thread's share of a step's tiles, in registers: one pack of floats of each tile, or two of doubles.
template <class T>
struct Fetched {
    static constexpr int WIDE = Pack<T>::size, PACKS = DEPTH * SPAN / WIDE / (32 * WARPS);
    Pack<T> a_packs[PACKS], b_packs[PACKS];

    __device__ void fetch(Matrix<const T> a, Matrix<const T> b, int i0, int j0, int p0, bool a_packed, bool b_packed) {
#pragma unroll
        for (int pack = 0; pack < PACKS; ++pack) {
            const int n = threadIdx.x + pack * 32 * WARPS;
            a_packs[pack] = pack_or_zero(a, i0 + n / (DEPTH / WIDE), p0 + n % (DEPTH / WIDE) * WIDE, a_packed);
            b_packs[pack] = pack_or_zero(b, p0 + n / (SPAN / WIDE), j0 + n % (SPAN / WIDE) * WIDE, b_packed);
        }
    }
    __device__ void store(T (*a_tile)[SPAN], T (*b_tile)[SPAN]) const {
#pragma unroll
        for (int pack = 0; pack < PACKS; ++pack) {
            const int n = threadIdx.x + pack * 32 * WARPS;
            for (int part = 0; part < WIDE; ++part)
                a_tile[n % (DEPTH / WIDE) * WIDE + part][n / (DEPTH / WIDE)] = a_packs[pack].lane[part];
            b_packs[pack].to(&b_tile[n / (SPAN / WIDE)][n % (SPAN / WIDE) * WIDE]);
        }
    }
};

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(32 * WARPS)
matmul_double_buffered(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tiles[2][DEPTH][SPAN];  // columns of a as rows
    __shared__ __align__(16) T b_tiles[2][DEPTH][SPAN];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    const int y = warp % WARPS_DOWN * WARP_ROWS + lane / LANES_ACROSS * WIDE;
    const int x = warp / WARPS_DOWN * WARP_COLS + lane % LANES_ACROSS * WIDE;
    const bool a_packed = in_packs(a), b_packed = in_packs(b), c_packed = in_packs(c);
    T sums[PER_THREAD][PER_THREAD] = {};
    Fetched<T> next;
    next.fetch(a, b, i0, j0, 0, a_packed, b_packed);
    next.store(a_tiles[0], b_tiles[0]);
    for (int p0 = 0, now = 0; p0 < a.cols; p0 += DEPTH, now = 1 - now) {
        __syncthreads();  // these tiles are complete, and no thread reads the others any more
        const bool more = p0 + DEPTH < a.cols;
        if (more) next.fetch(a, b, i0, j0, p0 + DEPTH, a_packed, b_packed);
        const int depth = min(DEPTH, a.cols - p0);
        for (int p = 0; p < depth; ++p) {
            Pack<T> a_part[PER_THREAD / WIDE], b_part[PER_THREAD / WIDE];
            for (int n = 0; n < PER_THREAD / WIDE; ++n) {
                a_part[n] = Pack<T>::from(&a_tiles[now][p][y + n * LANES_DOWN * WIDE]);
                b_part[n] = Pack<T>::from(&b_tiles[now][p][x + n * LANES_ACROSS * WIDE]);
            }
            for (int i = 0; i < PER_THREAD; ++i)
                for (int j = 0; j < PER_THREAD; ++j)
                    sums[i][j] += a_part[i / WIDE].lane[i % WIDE] * b_part[j / WIDE].lane[j % WIDE];
        }
        if (more) next.store(a_tiles[1 - now], b_tiles[1 - now]);
    }
    for (int i = 0; i < PER_THREAD; ++i)
        for (int n = 0; n < PER_THREAD / WIDE; ++n) {
            Pack<T> pack;
            for (int part = 0; part < WIDE; ++part) pack.lane[part] = sums[i][n * WIDE + part];
            const int row = i0 + y + i / WIDE * LANES_DOWN * WIDE + i % WIDE;
            store_pack(pack, c, row, j0 + x + n * LANES_ACROSS * WIDE, c_packed);
        }
}
