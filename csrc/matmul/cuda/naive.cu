// One thread an element, neighbouring threads in neighbouring rows.
//
//     c[i, j] = Σ_p a[i, p] b[p, j]        thread (x, y) of the grid: i from x, j from y
//
// A thread does only the loop over p; the grid is the other two loops. x counts the threads of a warp, the 32 that run
// in step, and here it is the row: in row-major matrices their 32 loads of a and 32 stores of c are a row apart. Each
// is 32 accesses of 32 bytes, of which 4 are used. The limit is that waste of the memory's bandwidth (CUDA C++ Best
// Practices Guide, Coalesced Access to Global Memory). `cuda.naive` is the same rung in Python.
#include "cuda/view.hpp"

// launch: grid=((m + 15) / 16, (n + 15) / 16) block=(16, 16)
template <class T>
__global__ void matmul_naive(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int j = blockIdx.y * blockDim.y + threadIdx.y;
    if (!c.holds(i, j)) return;
    T sum = 0;
    for (int p = 0; p < a.cols; ++p) sum += a(i, p) * b(p, j);
    c(i, j) = sum;
}
