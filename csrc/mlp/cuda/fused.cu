// Bias and GELU in one pass over the hidden layer; its gradient and the bias's in one pass too.
//
//     forward    z += b1, h = gelu(z)                        a thread an element, striding over the grid
//     backward   dz = dh ⊙ gelu'(z), db1 = Σ_rows dz         a block 32 columns, 8 threads a column
//
// The hidden layer is read once and written twice; `composed` reads it twice and writes it twice. Backward, dz is not
// read again for its sum. Each of a column's 8 threads takes every eighth row and leaves its sum in shared memory;
// after a barrier one thread adds them up: 256 threads for 32 columns, where `composed` has 32. The limit is the
// products. The product could apply GELU itself, as an epilogue, and save the reading too.
#include "gelu/cuda/formulas.hpp"
#include "cuda/view.hpp"

constexpr int COLUMNS = 32, ROWS = 8;  // of a block's threads: a warp reads 32 neighbours

// launch: grid=min(ceil_div(m * n, 128), 1024) block=128
template <class T>
__global__ void mlp_bias_gelu(Matrix<T> z, const T* bias, Matrix<T> h, bool tanh_form) {
    const long long size = (long long)z.rows * z.cols, stride = (long long)gridDim.x * blockDim.x;
    for (long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x; n < size; n += stride) {
        const int i = int(n / z.cols), j = int(n % z.cols);
        const T value = z(i, j) + bias[j];
        z(i, j) = value;
        h(i, j) = gelu(value, tanh_form);
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
        for (int i = y; i < z.rows; i += ROWS) {
            const T dz = dh(i, j) * gelu_slope(z(i, j), tanh_form);
            dh(i, j) = dz;
            sum += dz;
        }
    sums[y][x] = sum;
    __syncthreads();  // all sums of the block are there
    if (y == 0 && j < z.cols) {
        for (int row = 1; row < ROWS; ++row) sum += sums[row][x];
        db1[j] = sum;
    }
}
