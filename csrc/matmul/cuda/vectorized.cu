// Loads of 16 bytes, from the device's memory and from shared memory: a quarter of the instructions.
//
//     c[I, J] += a[I, P] b[P, J]        I, J of 128, P of 8; 256 threads, each 8 x 8 elements
//
// One instruction loads four floats or two doubles that begin at a multiple of 16 bytes. A thread loads 4 floats of a
// row of a, which it stores as a column, so that 4 rows are neighbours too; and 4 of a row of b. With contiguous
// columns it is the other way round. For 64 multiply-adds it then loads 16 elements from shared memory in 4
// instructions (Boehm 2022, kernel 6). Other strides, or lengths that are no multiple of four, are loaded element by
// element: they work, but lose the gain. The limit: the loads of a step wait for memory, and a warp's 32 threads share
// little, since they lie in two rows of 16 threads.
#include "matmul/cuda/thread_tile.hpp"

constexpr int SIDE = 16;  // threads in each direction

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(THREADS, BLOCKS<T>)
    matmul_vectorized(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tile[DEPTH][ROW<T>];
    __shared__ __align__(16) T b_tile[DEPTH][ROW<T>];
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    const int y = threadIdx.x / SIDE * WIDE, x = threadIdx.x % SIDE * WIDE;
    Sums<T, SIDE * WIDE, SIDE * WIDE> sums;
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
