// Each warp has its own tile, 32 x 64, in a block's 128 x 128: its threads share what they load.
//
//     c[I, J] += a[I, P] b[P, J]        8 warps as 4 x 2; a warp's 32 lanes as 4 x 8, each 8 x 8 elements
//
// The warp's tile lies between the block's and the thread's, as in NVIDIA's CUTLASS (Efficient GEMM in CUDA, its
// documentation). For one p a warp reads 32 elements of a and 64 of b from shared memory and multiplies 2,048 times. As
// two rows of 16 threads, in `vectorized`, it reads 16 and 128. One access serves all lanes that want the same element,
// and the 8 x 16 bytes of b that 16 lanes want lie in all banks. Each of a multiprocessor's 4 schedulers then works on
// the data of its own warps (Boehm 2022, kernel 10). The limit: all warps wait at a barrier while the next tiles come
// from memory.
#include "matmul/cuda/thread_tile.hpp"

constexpr int WARP_ROWS = 32, WARP_COLS = 64, WARPS_DOWN = 4;  // of a warp's tile; four tiles down, two across

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(THREADS, BLOCKS<T>)
    matmul_warp_tiled(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tile[DEPTH][ROW<T>];
    __shared__ __align__(16) T b_tile[DEPTH][ROW<T>];
    const int warp = threadIdx.x / 32;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    // The thread's first row and column in the block's tile; the next ones are WIDE rows of all lanes further on.
    const int y = warp % WARPS_DOWN * WARP_ROWS + lane_down() * WIDE;
    const int x = warp / WARPS_DOWN * WARP_COLS + lane_across() * WIDE;
    Sums<T, LANES_DOWN * WIDE, LANES_ACROSS * WIDE> sums;
    Share<T> of_a(a, i0), of_b(b.transposed(), j0);
    for (int p0 = 0; p0 < a.cols; p0 += DEPTH) {
        of_a.fetch();
        of_b.fetch();
        of_a.store(a_tile);
        of_b.store(b_tile);
        __syncthreads();  // the tiles are complete
        sums.add_products(a_tile, b_tile, y, x);
        __syncthreads();  // no thread reads the tiles any more
    }
    sums.store(c, i0 + y, j0 + x, in_packs(c));
}
