// Tensor cores by mma: fragments of known layout, and four pairs of tiles, three of them on their way from memory.
//
//     copy(0), copy(1), copy(2); for each step s: wait for tiles s; copy(s + 3); multiply tiles[s % 4]
//     c[I, J] += a[I, P] b[P, J]        I of 128, J of 256, P of 32; 8 warps as 2 x 4, each 64 x 64
//
// cp.async copies 16 bytes from memory to shared memory without a detour through registers, so more steps can be under
// way than registers would hold. ldmatrix fills a warp's fragments: 8 rows of 16 bytes for each of four matrices;
// `.trans` gives mma the columns of b that it wants. The place of 16 bytes in a row depends on the row (an exclusive
// or), so that any 8 such rows lie in all 32 banks, and the tiles need no empty columns. For 16 steps of p a warp loads
// 64 x 16 elements of a and of b, 4 KiB, and multiplies 65,536 times: 128 sums a thread stay in registers. A thread
// knows its elements of c and stores them from registers. Other strides than rows of 16-byte packs are copied one by
// one: they work, but lose the gain. The limit is mma itself: from compute capability 9.0 on, only wgmma, which four
// warps issue together for operands in shared memory, reaches the full rate.
#include "cuda/tensor_cores.hpp"

constexpr int THREADS = 256;
constexpr int ROWS = 128;                  // of a block's part of c
constexpr int COLS = 256;
constexpr int DEPTH = 32;                  // of a step
constexpr int STAGES = 4;                  // pairs of tiles
constexpr int WARP = 64;                   // rows and columns of a warp's part
constexpr int WIDE = 8;                    // elements in 16 bytes
constexpr int SHARED = STAGES * (ROWS + COLS) * DEPTH * 2;

// Where the 16 bytes of row i that begin with column j are in a tile with this many columns.
template <int columns>
__device__ int place(int i, int j) {
    constexpr int packs = columns / WIDE;
    return i * columns + (j / WIDE ^ (packs < 8 ? i / (8 / packs) % packs : i % 8)) * WIDE;
}

// The block copies the tile that begins at from(i0, j0), with zeros beyond the edges: by cp.async if it is `packed`.
template <int rows, int columns, class T>
__device__ void copy_tile(T* tile, Matrix<const T> from, int i0, int j0, bool packed) {
    constexpr int packs = columns / WIDE, down = THREADS / packs;  // from one of a thread's rows to the next
    const int i = threadIdx.x / packs, j = threadIdx.x % packs * WIDE;
    T* const to = tile + place<columns>(i, j);  // the same in all of the thread's rows, as `down` is a multiple of 8
    if (!packed) {
#pragma unroll 1
        for (int n = 0; n < rows; n += down) pack_or_zero(from, i0 + i + n, j0 + j, false).to(to + n * columns);
        return;
    }
    const int count = max(0, min(WIDE, from.cols - j0 - j));
    const T* const first = &from(i0 + i, j0 + j);
#pragma unroll
    for (int n = 0; n < rows; n += down) {
        const bool any = count > 0 && i0 + i + n < from.rows;
        cp_async(to + n * columns, any ? first + n * from.row_stride : from.data, any ? count * int(sizeof(T)) : 0);
    }
}

template <class R>
struct __align__(2 * sizeof(R)) Pair {
    R of[2];
};

// types: <bfloat16, float> <bfloat16, bfloat16> <float16, float> <float16, float16>
// launch: grid=((n + 255) / 256, (m + 127) / 128) block=256 shared=SHARED
template <class T, class R>
__global__ void __launch_bounds__(THREADS) matmul_mma(Matrix<const T> a, Matrix<const T> b, Matrix<R> c) {
    extern __shared__ __align__(16) unsigned char tiles[];
    T* const a_tiles = reinterpret_cast<T*>(tiles);
    T* const b_tiles = a_tiles + STAGES * ROWS * DEPTH;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Part part = part_of_block();
    const int i0 = part.down * ROWS, j0 = part.across * COLS;
    const int y = warp / 4 * WARP, x = warp % 4 * WARP;  // of the warp's part in the block's
    const bool a_packed = in_packs(a), b_packed = in_packs(b);
    const int steps = (a.cols + DEPTH - 1) / DEPTH;
    CFragment sums[WARP / 16][WARP / 8];

    const auto copy = [&](int step) {
        T* const a_tile = a_tiles + step % STAGES * ROWS * DEPTH;
        T* const b_tile = b_tiles + step % STAGES * COLS * DEPTH;
        copy_tile<ROWS, DEPTH>(a_tile, a, i0, step * DEPTH, a_packed);
        copy_tile<DEPTH, COLS>(b_tile, b, step * DEPTH, j0, b_packed);
    };

    for (int step = 0; step < STAGES - 1; ++step) {
        if (step < steps) copy(step);
        cp_async_commit();
    }
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<STAGES - 2>();  // this thread's part of this step's tiles is there
        __syncthreads();  // and every other thread's, and no thread reads the tiles of the step before any more
        if (step + STAGES - 1 < steps) copy(step + STAGES - 1);
        cp_async_commit();
        const T* const a_tile = a_tiles + step % STAGES * ROWS * DEPTH;
        const T* const b_tile = b_tiles + step % STAGES * COLS * DEPTH;
        if (!c.holds(i0 + y, j0 + x)) continue;  // nothing of the warp's part is in c
#pragma unroll
        for (int p = 0; p < DEPTH; p += 16) {
            AFragment a_part[WARP / 16];
            BFragment b_part[WARP / 8];
            for (int i = 0; i < WARP / 16; ++i)
                ldmatrix(a_part[i].pairs, &a_tile[place<DEPTH>(y + 16 * i + lane % 16, p + lane / 16 * WIDE)]);
            for (int j = 0; j < WARP / 8; j += 2) {
                unsigned pairs[4];
                ldmatrix_transposed(pairs, &b_tile[place<COLS>(p + lane % 16, x + 8 * j + lane / 16 * WIDE)]);
                b_part[j] = {{pairs[0], pairs[1]}};
                b_part[j + 1] = {{pairs[2], pairs[3]}};
            }
            for (int i = 0; i < WARP / 16; ++i)
                for (int j = 0; j < WARP / 8; ++j) multiply_add(sums[i][j], a_part[i], b_part[j], T{});
        }
    }

    const bool paired = c.col_stride == 1 && c.row_stride % 2 == 0;  // c is new memory, and begins at 256 bytes
#pragma unroll
    for (int i = 0; i < WARP / 16; ++i)
#pragma unroll
        for (int j = 0; j < WARP / 8; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = i0 + y + 16 * i + 8 * half + lane / 4, col = j0 + x + 8 * j + lane % 4 * 2;
                Pair<R> pair;
                for (int n = 0; n < 2; ++n) round_to(pair.of[n], sums[i][j].sums[2 * half + n]);
                if (paired && c.holds(row, col + 1)) *reinterpret_cast<Pair<R>*>(&c(row, col)) = pair;
                else
                    for (int n = 0; n < 2; ++n)
                        if (c.holds(row, col + n)) c(row, col + n) = pair.of[n];
            }
}
