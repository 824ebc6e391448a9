// A block brings a tile of a and one of b into shared memory, and each of their elements is used 16 times there.
//
//     c[I, J] = Σ_K a[I, K] b[K, J]        I, K, J are tiles of 16 x 16; block (J, I), a thread an element
//
// Shared memory is as near as an L1 cache, and filled by the program. The 256 threads bring 16 x 16 elements of each,
// wait for one another, and multiply the tiles: a sixteenth of the traffic from beyond the block, and both loads are
// coalesced. Two barriers a step: one before the tiles are read, since others brought them; one after, since the next
// step overwrites them. The limit moves to shared memory: a multiply-add still needs two loads from it, and a
// multiprocessor has 128 multiply-adds a cycle, but only 32 loads (CUDA C++ Programming Guide, Shared Memory).
#include "cuda/view.hpp"

constexpr int TILE = 16;

// launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)
template <class T>
__global__ void matmul_tiled(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    __shared__ T a_tile[TILE][TILE];
    __shared__ T b_tile[TILE][TILE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int i = blockIdx.y * TILE + y, j = blockIdx.x * TILE + x;
    T sum = 0;
    for (int k0 = 0; k0 < a.cols; k0 += TILE) {
        a_tile[y][x] = at_or_zero(a, i, k0 + x);
        b_tile[y][x] = at_or_zero(b, k0 + y, j);
        __syncthreads();  // the tiles are complete
        const int depth = min(TILE, a.cols - k0);
        for (int k = 0; k < depth; ++k) sum += a_tile[y][k] * b_tile[k][x];
        __syncthreads();  // nobody reads the tiles any more
    }
    if (c.holds(i, j)) c(i, j) = sum;
}
