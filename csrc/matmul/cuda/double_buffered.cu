// Two pairs of tiles: while the warps multiply one, the next is on its way from memory.
//
//     fetch(0); for each step s: fetch(s + 1) into registers; multiply tiles[s % 2]; store them to tiles[(s + 1) % 2]
//
// A load from the device's memory takes some 500 cycles. It is issued before the multiplications of a step and stored
// after them, so it has their time to arrive. With two pairs of tiles one barrier a step is enough: no thread writes
// the pair that others may still read, and a thread is at most one step ahead. The tiles are `warp_tiled`'s. A block
// whose tiles lie inside of the matrices runs a loop that checks no edge: 512 of its 581 instructions are FFMA (compute
// capability 9.0), and 32 are loads from shared memory. Its 128 registers a thread let two blocks share a
// multiprocessor, so that one multiplies while the other waits at its barrier. The limit is the multiprocessors'
// multiply-adds. Only tensor cores are faster, in lower precision: `wmma` and `mma`.
#include "matmul/cuda/thread_tile.hpp"

template <bool of>
struct Known {  // to the compiler
    static constexpr bool value = of;
};

constexpr int WARP_ROWS = 32, WARP_COLS = 64, WARPS_DOWN = 4;  // of a warp's tile; four tiles down, two across

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(THREADS, BLOCKS<T>)
    matmul_double_buffered(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tiles[2][DEPTH][ROW<T>];
    __shared__ __align__(16) T b_tiles[2][DEPTH][ROW<T>];
    const int warp = threadIdx.x / 32;
    const Part part = part_of_block();
    const int i0 = part.down * SPAN, j0 = part.across * SPAN;
    const int y = warp % WARPS_DOWN * WARP_ROWS + lane_down() * WIDE;
    const int x = warp / WARPS_DOWN * WARP_COLS + lane_across() * WIDE;
    Sums<T, LANES_DOWN * WIDE, LANES_ACROSS * WIDE> sums;
    Share<T> of_a(a, i0), of_b(b.transposed(), j0);
    const auto multiply = [&](auto inside) {
        of_a.template fetch<inside.value>();
        of_b.template fetch<inside.value>();
        of_a.store(a_tiles[0]);
        of_b.store(b_tiles[0]);
        for (int p0 = 0, now = 0; p0 < a.cols; p0 += DEPTH, now = 1 - now) {
            __syncthreads();  // these tiles are complete, and no thread reads the others any more
            const bool more = p0 + DEPTH < a.cols;
            if (more) of_a.template fetch<inside.value>();
            if (more) of_b.template fetch<inside.value>();
            sums.template add_products<inside.value ? DEPTH : 2>(a_tiles[now], b_tiles[now], y, x);
            if (more) of_a.store(a_tiles[1 - now]);
            if (more) of_b.store(b_tiles[1 - now]);
        }
    };
    const bool inside = c.holds(i0 + SPAN - 1, j0 + SPAN - 1) && a.cols % DEPTH == 0 && of_a.packed && of_b.packed;
    inside ? multiply(Known<true>{}) : multiply(Known<false>{});
    sums.store(c, i0 + y, j0 + x, in_packs(c));
}
