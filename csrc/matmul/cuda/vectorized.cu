// Loads of 16 bytes, from the device's memory and from shared memory: a quarter of the instructions.
//
//     c[I, J] += a[I, P] b[P, J]        I, J of 128, P of 8; 256 threads, each 8 x 8 elements
//
// One instruction loads four floats or two doubles that begin at a multiple of 16 bytes. A thread loads 4 floats of a
// row of a, which it stores as a column, so that 4 rows are neighbours too; and 4 of a row of b. For 64 multiply-adds
// it then loads 16 elements from shared memory in 4 instructions (Boehm 2022, kernel 6). Other strides, or rows whose
// length is no multiple of four, are loaded element by element: they work, but lose the gain. The limit: the loads of a
// step wait for memory, and a warp's 32 threads share little, since they lie in two rows of 16 threads.
#include "cuda/view.hpp"

constexpr int SIDE = 16;         // threads in each direction
constexpr int PER_THREAD = 8;    // 64 sums and 16 factors in registers
constexpr int SPAN = SIDE * PER_THREAD;
constexpr int DEPTH = 8;

// launch: grid=((n + 127) / 128, (m + 127) / 128) block=256
template <class T>
__global__ void __launch_bounds__(SIDE * SIDE) matmul_vectorized(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    constexpr int WIDE = Pack<T>::size;
    __shared__ __align__(16) T a_tile[DEPTH][SPAN];  // columns of a as rows
    __shared__ __align__(16) T b_tile[DEPTH][SPAN];
    const int me = threadIdx.x, x = me % SIDE, y = me / SIDE;
    const int i0 = blockIdx.y * SPAN, j0 = blockIdx.x * SPAN;
    const bool a_packed = in_packs(a), b_packed = in_packs(b), c_packed = in_packs(c);
    T sums[PER_THREAD][PER_THREAD] = {};
    for (int p0 = 0; p0 < a.cols; p0 += DEPTH) {
        for (int n = me; n < DEPTH * SPAN / WIDE; n += SIDE * SIDE) {
            const int row = n / (DEPTH / WIDE), p = n % (DEPTH / WIDE) * WIDE;
            const Pack<T> a_pack = pack_or_zero(a, i0 + row, p0 + p, a_packed);
            for (int lane = 0; lane < WIDE; ++lane) a_tile[p + lane][row] = a_pack.lane[lane];
            const int col = n % (SPAN / WIDE) * WIDE;
            pack_or_zero(b, p0 + n / (SPAN / WIDE), j0 + col, b_packed).to(&b_tile[n / (SPAN / WIDE)][col]);
        }
        __syncthreads();  // the tiles are complete
        const int depth = min(DEPTH, a.cols - p0);
        for (int p = 0; p < depth; ++p) {
            Pack<T> a_part[PER_THREAD / WIDE], b_part[PER_THREAD / WIDE];
            for (int n = 0; n < PER_THREAD / WIDE; ++n) {
                a_part[n] = Pack<T>::from(&a_tile[p][(n * SIDE + y) * WIDE]);
                b_part[n] = Pack<T>::from(&b_tile[p][(n * SIDE + x) * WIDE]);
            }
            for (int i = 0; i < PER_THREAD; ++i)
                for (int j = 0; j < PER_THREAD; ++j)
                    sums[i][j] += a_part[i / WIDE].lane[i % WIDE] * b_part[j / WIDE].lane[j % WIDE];
        }
        __syncthreads();  // no thread reads the tiles any more
    }
    for (int i = 0; i < PER_THREAD; ++i)
        for (int n = 0; n < PER_THREAD / WIDE; ++n) {
            const int row = i0 + (i / WIDE * SIDE + y) * WIDE + i % WIDE, col = j0 + (n * SIDE + x) * WIDE;
            Pack<T> pack;
            for (int lane = 0; lane < WIDE; ++lane) pack.lane[lane] = sums[i][n * WIDE + lane];
            store_pack(pack, c, row, col, c_packed);
        }
}
