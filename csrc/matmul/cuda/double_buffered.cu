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
#include "matmul/cuda/thread_tile.hpp"

constexpr int WARP_ROWS = 32, WARP_COLS = 64, WARPS_DOWN = 4;  // of a warp's tile; four tiles down, two across
constexpr int LANES_DOWN = 4, LANES_ACROSS = 8;

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(THREADS) matmul_double_buffered(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tiles[2][DEPTH][SPAN];  // columns of a as rows
    __shared__ __align__(16) T b_tiles[2][DEPTH][SPAN];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    const int y = warp % WARPS_DOWN * WARP_ROWS + lane / LANES_ACROSS * WIDE;
    const int x = warp / WARPS_DOWN * WARP_COLS + lane % LANES_ACROSS * WIDE;
    const bool a_packed = in_packs(a), b_packed = in_packs(b);
    Sums<T, LANES_DOWN * WIDE, LANES_ACROSS * WIDE> sums;
    Fetched<T> next;
    next.fetch(a, b, i0, j0, 0, a_packed, b_packed);
    next.store(a_tiles[0], b_tiles[0]);
    for (int p0 = 0, now = 0; p0 < a.cols; p0 += DEPTH, now = 1 - now) {
        __syncthreads();  // these tiles are complete, and no thread reads the others any more
        const bool more = p0 + DEPTH < a.cols;
        if (more) next.fetch(a, b, i0, j0, p0 + DEPTH, a_packed, b_packed);
        sums.add_products(a_tiles[now], b_tiles[now], y, x, min(DEPTH, a.cols - p0));
        if (more) next.store(a_tiles[1 - now], b_tiles[1 - now]);
    }
    sums.store(c, i0 + y, j0 + x, in_packs(c));
}
