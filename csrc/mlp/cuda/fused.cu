// Bias and GELU in one pass over the hidden layer; its gradient and the bias's in one pass too.
//
//     forward    z += b1, h = gelu(z)                        a thread a pack of 16 bytes, striding over rows and columns
//     backward   dz = dh ⊙ gelu'(z), db1 = Σ_rows dz         a block 32 columns, 8 threads a column
//
// The hidden layer is read once and written twice; `composed` reads it twice and writes it twice. Rows and columns are a
// thread's two numbers, so that none is found by a division, which takes as many instructions as GELU. Backward, dz is
// not read again for its sum. Each of a column's 8 threads takes every eighth row, four of them at a time, and leaves
// its sum in shared memory; after a barrier one thread adds them up: 256 threads for 32 columns, where `composed` has
// 32. The limit is the products. The product could apply GELU itself, as an epilogue, and save the reading too.
#include "gelu/cuda/formulas.hpp"
#include "cuda/view.hpp"

constexpr int COLUMNS = 32, ROWS = 8;  // of a block's threads: a warp reads 32 neighbours
constexpr int AT_ONCE = 4;             // rows whose loads a thread starts before it computes

// launch: grid=(ceil_div(n, 512), min(m, 256)) block=128
template <class T>
__global__ void mlp_bias_gelu(Matrix<T> z, const T* bias, Matrix<T> h, bool tanh_form) {
    constexpr int WIDE = Pack<T>::size;
    const Matrix<const T> in{z.data, z.rows, z.cols, z.row_stride, z.col_stride}, row{bias, 1, z.cols, z.cols, 1};
    const bool packed = in_packs(in) && in_packs(h);
    for (int j = (blockIdx.x * blockDim.x + threadIdx.x) * WIDE; j < z.cols; j += gridDim.x * blockDim.x * WIDE) {
        const Pack<T> added = pack_or_zero(row, 0, j, packed);
        for (int i = blockIdx.y; i < z.rows; i += gridDim.y) {
            Pack<T> pack = pack_or_zero(in, i, j, packed);
            for (int n = 0; n < WIDE; ++n) pack.lane[n] += added.lane[n];
            store_pack(pack, z, i, j, packed);
            for (T& value : pack.lane) value = gelu(value, tanh_form);
            store_pack(pack, h, i, j, packed);
        }
    }
}

// dz overwrites dh.
// launch: grid=ceil_div(n, 32) block=(32, 8)
template <class T>
__global__ void mlp_slope_and_sums(Matrix<const T> z, Matrix<T> dh, T* db1, bool tanh_form) {
    __shared__ T sums[ROWS][COLUMNS];
    const int x = threadIdx.x, y = threadIdx.y, j = blockIdx.x * COLUMNS + x;
    T sum = 0;
    if (j < z.cols)
        for (int first = y; first < z.rows; first += AT_ONCE * ROWS) {
            T at[AT_ONCE], dz[AT_ONCE];
#pragma unroll
            for (int n = 0; n < AT_ONCE; ++n) {
                const int i = first + n * ROWS;
                at[n] = i < z.rows ? z(i, j) : T(0);
                dz[n] = i < z.rows ? dh(i, j) : T(0);
            }
#pragma unroll
            for (int n = 0; n < AT_ONCE; ++n)
                if (first + n * ROWS < z.rows) {
                    dz[n] *= gelu_slope(at[n], tanh_form);
                    dh(first + n * ROWS, j) = dz[n];
                    sum += dz[n];
                }
        }
    sums[y][x] = sum;
    __syncthreads();  // all sums of the block are there
    if (y == 0 && j < z.cols) {
        for (int row = 1; row < ROWS; ++row) sum += sums[row][x];
        db1[j] = sum;
    }
}
