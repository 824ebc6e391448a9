// One thread an element, neighbouring threads in neighbouring rows.
//
//     c[i, j] = Σ_k a[i, k] b[k, j]        thread (x, y) of the grid: i from x, j from y
//
// The loop over k is all that a thread does; the grid is the other two. x counts the threads of a warp, the 32 that run
// in step, and here it is the row: in row-major matrices their 32 loads of a and 32 stores of c are a row apart, so each
// is 32 accesses of 32 bytes, of which 4 are used. The limit is that waste of the memory's bandwidth (CUDA C++ Best
// Practices Guide, Coalesced Access to Global Memory). It is the rung `cuda.naive` in another language.
#include "cuda/view.hpp"

// launch: grid=((m + 15) / 16, (n + 15) / 16) block=(16, 16)
template <class T>
__global__ void matmul_naive(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int j = blockIdx.y * blockDim.y + threadIdx.y;
    if (!c.holds(i, j)) return;
    T sum = 0;
    for (int k = 0; k < a.cols; ++k) sum += a(i, k) * b(k, j);
    c(i, j) = sum;
}
