// The products, biases and GELUs as kernels in a row, with everything between them left on the device.
//
//     forward    z = x w1 + b1      h = gelu(z)      y = h w2 + b2
//     backward   dh = dy w2ᵀ        dz = dh ⊙ gelu'(z)
//                dx = dz w1ᵀ        dw1 = xᵀ dz      db1 = Σ dz        dw2 = hᵀ dy      db2 = Σ dy
//
// The products are matmul's double_buffered, GELU is gelu's vectorized. This file adds a bias to each column, and sums
// columns, a thread a column, so that a warp's threads read neighbours. Inputs go to the device once, and results come
// back once. A transposed factor is a view with exchanged strides: its packs lie across the sum, and none is turned. The
// limit, apart from the products: the hidden layer is read and written once for the bias and once more for GELU, and a
// sum over the rows has only as many threads as there are columns.
#include "cuda/view.hpp"

// launch: grid=(ceil_div(n, 128), min(m, 1024)) block=128
template <class T>
__global__ void mlp_add_bias(Matrix<T> c, const T* bias) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= c.cols) return;
    for (int i = blockIdx.y; i < c.rows; i += gridDim.y) c(i, j) += bias[j];
}

// launch: grid=ceil_div(n, 128) block=128
template <class T>
__global__ void mlp_column_sums(Matrix<const T> a, T* sums) {
    const int j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= a.cols) return;
    T sum = 0;
    for (int i = 0; i < a.rows; ++i) sum += a(i, j);
    sums[j] = sum;
}
