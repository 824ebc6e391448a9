// A matrix with any strides, as kernels take it; and packs: 16 bytes of neighbours, which one instruction loads.
#pragma once

template <class T>
struct Matrix {
    T* data;
    int rows, cols;
    long long row_stride, col_stride;  // in elements

    __device__ T& operator()(int i, int j) const { return data[i * row_stride + j * col_stride]; }
    __device__ bool holds(int i, int j) const { return i < rows && j < cols; }
    __device__ Matrix transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};

// The element, or 0, which adds nothing to a sum, beyond the edges.
template <class T>
__device__ T at_or_zero(Matrix<const T> a, int i, int j) { return a.holds(i, j) ? a(i, j) : T{}; }

// Like float4 or double2: one instruction loads or stores it at a multiple of 16 bytes.
template <class T>
struct __align__(16) Pack {
    static constexpr int size = 16 / sizeof(T);
    T lane[size];

    __device__ static Pack from(const T* place) { return *reinterpret_cast<const Pack*>(place); }
    __device__ void to(T* place) const { *reinterpret_cast<Pack*>(place) = *this; }
};

// Whether each group of `Pack<T>::size` columns, counted from 0, begins at a multiple of 16 bytes in every row.
template <class T>
__device__ bool in_packs(Matrix<T> a) {
    return a.col_stride == 1 && a.row_stride % Pack<const T>::size == 0 && reinterpret_cast<size_t>(a.data) % 16 == 0;
}

// a(i, j), a(i, j + 1), …: one load if the matrix is `packed` and holds them all, otherwise one each.
template <class T>
__device__ Pack<T> pack_or_zero(Matrix<const T> a, int i, int j, bool packed) {
    if (packed && a.holds(i, j + Pack<T>::size - 1)) return Pack<T>::from(&a(i, j));
    Pack<T> pack;
#pragma unroll
    for (int n = 0; n < Pack<T>::size; ++n) pack.lane[n] = at_or_zero(a, i, j + n);
    return pack;
}

// Stores the lanes to c(i, j), c(i, j + 1), …, up to c's edge: one store if c is `packed` and holds them all.
template <class T>
__device__ void store_pack(const Pack<T>& pack, Matrix<T> c, int i, int j, bool packed) {
    if (packed && c.holds(i, j + Pack<T>::size - 1)) {
        pack.to(&c(i, j));
        return;
    }
#pragma unroll
    for (int n = 0; n < Pack<T>::size; ++n)
        if (c.holds(i, j + n)) c(i, j + n) = pack.lane[n];
}

// Which part of c a block computes, in parts down and across: the grid's blocks in their order go through groups of 8
// rows of parts, and in a group down the columns. Blocks that run at the same time then need fewer rows and columns of
// a and b together, and find them in the L2 cache.
struct Part {
    int down, across;
};
__device__ inline Part part_of_block() {
    constexpr int most = 8;
    const int n = blockIdx.y * gridDim.x + blockIdx.x, group = n / (most * gridDim.x);
    const int rows = min(most, int(gridDim.y) - group * most), in_group = n - group * most * gridDim.x;
    return {group * most + in_group % rows, in_group / rows};
}
