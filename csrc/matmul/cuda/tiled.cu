// A block loads a tile of a and a tile of b into shared memory, and uses each of their elements 16 times there.
//
//     c[I, J] = Σ_P a[I, P] b[P, J]        I, P, J are tiles of 16 x 16; block (J, I), a thread an element
//
// Shared memory is as near as an L1 cache, and the program fills it. The 256 threads load 16 x 16 elements of each
// matrix, wait for one another, and multiply the tiles: a sixteenth of the traffic from outside the block, and both
// loads are coalesced. A step has two barriers: one before the tiles are read, since other threads loaded them; one
// after, since the next step overwrites them. The limit moves to shared memory: a multiply-add still needs two loads
// from it, and a multiprocessor has 128 multiply-adds a cycle but only 32 loads (CUDA C++ Programming Guide, Shared
// Memory).
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
    for (int p0 = 0; p0 < a.cols; p0 += TILE) {
        a_tile[y][x] = at_or_zero(a, i, p0 + x);
        b_tile[y][x] = at_or_zero(b, p0 + y, j);
        __syncthreads();  // the tiles are complete
        const int depth = min(TILE, a.cols - p0);
        for (int p = 0; p < depth; ++p) sum += a_tile[y][p] * b_tile[p][x];
        __syncthreads();  // no thread reads the tiles any more
    }
    if (c.holds(i, j)) c(i, j) = sum;
}
