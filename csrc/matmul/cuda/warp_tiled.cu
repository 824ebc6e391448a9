// Each warp has its own tile, 32 x 64, in a block's 128 x 128: its threads share what they load.
//
//     c[I, J] += a[I, P] b[P, J]        8 warps as 4 x 2; a warp's 32 lanes as 4 x 8, each 8 x 8 elements
//
// The warp's tile lies between the block's and the thread's, as in NVIDIA's CUTLASS (Efficient GEMM in CUDA, its
// documentation). For one p a warp reads 32 elements of a and 64 of b from shared memory and multiplies 2,048 times. As
// two rows of 16 threads, in `vectorized`, it reads 16 and 128. One access serves all lanes that want the same element,
// and a load of b goes to all banks at once: 8 lanes x 16 bytes = 128 bytes. Each of a multiprocessor's 4 schedulers
// then works on the data of its own warps (Boehm 2022, kernel 10). The limit: all warps wait at a barrier while the
// next tiles come from memory.
#include "cuda/view.hpp"

constexpr int WARP_ROWS = 32, WARP_COLS = 64;  // of a warp's tile
constexpr int WARPS = 8, WARPS_DOWN = 4;       // four tiles down, two across
constexpr int SPAN = 128;
constexpr int DEPTH = 8;
constexpr int PER_THREAD = 8;                  // 64 sums and 16 factors in registers
constexpr int LANES_DOWN = 4, LANES_ACROSS = 8;

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(32 * WARPS) matmul_warp_tiled(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tile[DEPTH][SPAN];  // columns of a as rows
    __shared__ __align__(16) T b_tile[DEPTH][SPAN];
    const int me = threadIdx.x, warp = me / 32, lane = me % 32;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    // The thread's first row and column in the block's tile; the next ones are WIDE rows of all lanes further on.
    const int y = warp % WARPS_DOWN * WARP_ROWS + lane / LANES_ACROSS * WIDE;
    const int x = warp / WARPS_DOWN * WARP_COLS + lane % LANES_ACROSS * WIDE;
    const bool a_packed = in_packs(a), b_packed = in_packs(b), c_packed = in_packs(c);
    T sums[PER_THREAD][PER_THREAD] = {};
    for (int p0 = 0; p0 < a.cols; p0 += DEPTH) {
        for (int n = me; n < DEPTH * SPAN / WIDE; n += 32 * WARPS) {
            const int row = n / (DEPTH / WIDE), p = n % (DEPTH / WIDE) * WIDE;
            const Pack<T> a_pack = pack_or_zero(a, i0 + row, p0 + p, a_packed);
            for (int part = 0; part < WIDE; ++part) a_tile[p + part][row] = a_pack.lane[part];
            const int col = n % (SPAN / WIDE) * WIDE;
            pack_or_zero(b, p0 + n / (SPAN / WIDE), j0 + col, b_packed).to(&b_tile[n / (SPAN / WIDE)][col]);
        }
        __syncthreads();  // the tiles are complete
        const int depth = min(DEPTH, a.cols - p0);
        for (int p = 0; p < depth; ++p) {
            Pack<T> a_part[PER_THREAD / WIDE], b_part[PER_THREAD / WIDE];
            for (int n = 0; n < PER_THREAD / WIDE; ++n) {
                a_part[n] = Pack<T>::from(&a_tile[p][y + n * LANES_DOWN * WIDE]);
                b_part[n] = Pack<T>::from(&b_tile[p][x + n * LANES_ACROSS * WIDE]);
            }
            for (int i = 0; i < PER_THREAD; ++i)
                for (int j = 0; j < PER_THREAD; ++j)
                    sums[i][j] += a_part[i / WIDE].lane[i % WIDE] * b_part[j / WIDE].lane[j % WIDE];
        }
        __syncthreads();  // no thread reads the tiles any more
    }
    for (int i = 0; i < PER_THREAD; ++i)
        for (int n = 0; n < PER_THREAD / WIDE; ++n) {
            Pack<T> pack;
            for (int part = 0; part < WIDE; ++part) pack.lane[part] = sums[i][n * WIDE + part];
            const int row = i0 + y + i / WIDE * LANES_DOWN * WIDE + i % WIDE;
            store_pack(pack, c, row, j0 + x + n * LANES_ACROSS * WIDE, c_packed);
        }
}
