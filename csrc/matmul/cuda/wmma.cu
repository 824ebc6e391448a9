// Tensor cores: one instruction of a warp multiplies two squares of 16 x 16 and adds the product to a third.
//
//     c[I, J] += a[I, P] b[P, J]        I, J of 128, P of 32; 8 warps as 4 x 2, each 2 x 4 squares of 16 x 16
//
// a and b have 16 bits, the sums are float32. Such an instruction is 4,096 multiply-adds, where an FFMA is 32. The
// tiles go through shared memory as in `tiled`, padded with zeros beyond the edges; for 8 squares of c a warp loads 2
// of a and 4 of b. A row of a tile is 16 bytes longer than its elements, so that 8 rows begin in different banks. Which
// thread holds which element of a square is left open (PTX ISA, wmma), so the sums reach c by way of shared memory, a
// square at a time. The limit: every warp waits while the next tiles come, first for memory and then for the stores.
#include "cuda/tensor_cores.hpp"

constexpr int THREADS = 256;
constexpr int SPAN = 128;                  // rows and columns of a block's part of c
constexpr int DEPTH = 32;                  // of a step
constexpr int SIDE = 16;                   // of a square
constexpr int DOWN = 2, ACROSS = 4;        // squares of a warp
constexpr int WIDE = 8;                    // elements in 16 bytes, which is also how much longer rows are

// types: <bfloat16, float> <bfloat16, bfloat16> <float16, float> <float16, float16>
// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T, class R>
__global__ void __launch_bounds__(THREADS) matmul_wmma(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    __shared__ __align__(32) T a_tile[SPAN][DEPTH + WIDE];
    __shared__ __align__(32) T b_tile[DEPTH][SPAN + WIDE];
    __shared__ __align__(32) float squares[THREADS / 32][SIDE][SIDE];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    const int y = warp / 2 * DOWN * SIDE, x = warp % 2 * ACROSS * SIDE;  // of the warp's part in the block's
    const bool used = c.holds(i0 + y, j0 + x);  // whether any of the warp's part is in c
    const bool a_packed = in_packs(a), b_packed = in_packs(b);
    Square sums[DOWN][ACROSS];
    for (int p0 = 0; p0 < a.cols; p0 += DEPTH) {
        for (int n = threadIdx.x; n < SPAN * DEPTH / WIDE; n += THREADS) {
            const int i = n / (DEPTH / WIDE), p = n % (DEPTH / WIDE) * WIDE, q = n / (SPAN / WIDE);
            const int j = n % (SPAN / WIDE) * WIDE;
            pack_or_zero(a, i0 + i, p0 + p, a_packed).to(&a_tile[i][p]);
            pack_or_zero(b, p0 + q, j0 + j, b_packed).to(&b_tile[q][j]);
        }
        __syncthreads();  // the tiles are complete
#pragma unroll
        for (int p = 0; p < DEPTH; p += SIDE) {
            if (!used) break;
            Factor<T> a_part[DOWN], b_part[ACROSS];
            for (int i = 0; i < DOWN; ++i) load_a(a_part[i], &a_tile[y + i * SIDE][p], DEPTH + WIDE);
            for (int j = 0; j < ACROSS; ++j) load_b(b_part[j], &b_tile[p][x + j * SIDE], SPAN + WIDE);
            for (int i = 0; i < DOWN; ++i)
                for (int j = 0; j < ACROSS; ++j) multiply_add(sums[i][j], a_part[i], b_part[j]);
        }
        __syncthreads();  // no thread reads the tiles any more
    }
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
        for (int j = 0; j < ACROSS; ++j) {
            store(sums[i][j], squares[warp][0], SIDE);
            __syncwarp();  // the square is complete
            for (int n = lane; n < SIDE * SIDE; n += 32) {
                const int row = i0 + y + i * SIDE + n / SIDE, col = j0 + x + j * SIDE + n % SIDE;
                if (c.holds(row, col)) round_to(c(row, col), squares[warp][n / SIDE][n % SIDE]);
            }
            __syncwarp();  // no thread reads the square any more
        }
}
