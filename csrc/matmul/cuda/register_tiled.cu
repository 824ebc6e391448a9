// Each thread computes 4 x 4 elements, and keeps them and their factors in registers.
//
//     c[I, J] += a[I, P] b[P, J]        I, J of 64, P of 8; 16 x 16 threads, a thread's rows and columns 16 apart
//
// For 16 multiply-adds a thread loads 8 elements from shared memory, where `tiled` loads 32. A block's tile is 64 x 64,
// so each element that it loads is used 64 times. The thread's columns are 16 apart, so a warp's loads of b_tile and
// stores of c are neighbours. The limit now is the number of instructions: loads of 4 bytes and indices, next to the
// arithmetic (Boehm 2022, kernels 4 and 5; Volkov, Better Performance at Lower Occupancy, 2010).
#include "cuda/view.hpp"

constexpr int SIDE = 16;         // threads in each direction
constexpr int PER_THREAD = 4;    // rows and columns of a thread's tile: 16 sums and 8 factors in registers
constexpr int SPAN = SIDE * PER_THREAD;
constexpr int DEPTH = 8;         // of a step: the two tiles are 4 KiB in float32, 8 KiB in float64

// launch: grid=((n + 63) / 64, (m + 63) / 64) block=(16, 16)
template <class T>
__global__ void matmul_register_tiled(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    __shared__ T a_tile[DEPTH][SPAN + 1];  // columns of a as rows; + 1: their stores go to other banks
    __shared__ T b_tile[DEPTH][SPAN];
    const int x = threadIdx.x, y = threadIdx.y;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    T sums[PER_THREAD][PER_THREAD] = {};
    for (int p0 = 0; p0 < a.cols; p0 += DEPTH) {
        for (int n = y * SIDE + x; n < DEPTH * SPAN; n += SIDE * SIDE) {
            a_tile[n % DEPTH][n / DEPTH] = at_or_zero(a, i0 + n / DEPTH, p0 + n % DEPTH);
            b_tile[n / SPAN][n % SPAN] = at_or_zero(b, p0 + n / SPAN, j0 + n % SPAN);
        }
        __syncthreads();  // the tiles are complete
        const int depth = min(DEPTH, a.cols - p0);
        for (int p = 0; p < depth; ++p) {
            T a_part[PER_THREAD], b_part[PER_THREAD];
            for (int n = 0; n < PER_THREAD; ++n) {
                a_part[n] = a_tile[p][y + n * SIDE];
                b_part[n] = b_tile[p][x + n * SIDE];
            }
            for (int i = 0; i < PER_THREAD; ++i)
                for (int j = 0; j < PER_THREAD; ++j) sums[i][j] += a_part[i] * b_part[j];
        }
        __syncthreads();  // no thread reads the tiles any more
    }
    for (int i = 0; i < PER_THREAD; ++i)
        for (int j = 0; j < PER_THREAD; ++j) {
            const int row = i0 + y + i * SIDE, col = j0 + x + j * SIDE;
            if (c.holds(row, col)) c(row, col) = sums[i][j];
        }
}
