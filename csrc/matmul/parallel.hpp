// All cores: c is cut into pieces, each a product of its own, and for each the way that suits its shape is taken.
//
// No two threads write the same memory, and none waits for another: what they share is read only. c is cut into columns
// where it can be, since a, read where it lies, then costs no thread anything twice, and every sliver of b is packed by one
// thread alone; an a that has to be packed is cut into rows instead. Twice as many pieces as threads leave little to wait
// for at the end. Where c is small and the sums are long (tall k), the sums are cut: each thread adds up its part of k in
// scratch memory, and the parts are added in the order of k. So at a given number of threads every call's result is the
// same to the last bit, whoever takes which piece. Below some 2 million operations, 20 µs of one core, another core
// would come too late. What limits it: the cores' clock, and the memory and the L3 cache that they share.
#pragma once

#include "runtime/threads.hpp"
#include "matmul/kernel/by_shape.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

inline constexpr double worth_a_thread = 1e6;  // operations; measured: at 2 million two threads are as fast as one

// How c is cut.
enum class Cut { anyhow, columns };

struct Grid {
    index rows, cols;  // of pieces
};

// The grid by which the busiest thread has the least to do: so many pieces, of so many tiles each. Among equal ones that
// with the fewest cuts of rows, each of which makes the threads pack b once more, and then that with the most pieces.
template <class T>
Grid grid(Matrix<const T> a, Matrix<T> c, index threads, Cut cut) {
    if (threads == 1) return {1, 1};
    const index row_units = (c.rows + tile_rows - 1) / tile_rows, col_units = (c.cols + tile_cols<T> - 1) / tile_cols<T>;
    const index most = 4 * threads;
    const bool rows_first = cut == Cut::anyhow && !read_in_place(a) && row_units >= 2 * threads;
    Grid best = {1, 1};
    double least = 0;
    const double even_share = double((row_units * col_units + threads - 1) / threads);  // no grid's busiest has less
    const index most_rows = smaller(cut == Cut::columns ? 1 : row_units, most);
    for (index rows = 1; rows <= most_rows && (rows == 1 || least > even_share); ++rows)
        for (index cols = 1; cols <= smaller(rows_first ? 1 : col_units, most / rows); ++cols) {
            const index height = (row_units + rows - 1) / rows, width = (col_units + cols - 1) / cols;
            const double busiest = double((rows * cols + threads - 1) / threads * height * width);
            if (least == 0 || busiest < least || (busiest == least && rows == best.rows)) {
                least = busiest;
                best = {rows, cols};
            }
        }
    return best;
}

// The parts of a sum that is cut, added in order.
template <class T, class Finish>
void multiply_in_parts(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index parts, Finish finish, bool accumulate) {
    const index depth = (a.cols + parts - 1) / parts, size = c.rows * c.cols;
    T* const sums = scratch<T>(Slot::parts, parts * size);
    share(parts, [&](index part) {
        const index p = part * depth, inner = smaller(depth, larger(a.cols - p, 0));
        multiply<T>(a.block(0, p, a.rows, inner), b.block(p, 0, inner, b.cols),
                    {sums + part * size, c.rows, c.cols, c.cols, 1});
    });
    for (index i = 0; i < c.rows; ++i) {
        for (index j = 0; j < c.cols; ++j) {
            T sum = accumulate ? c(i, j) : T(0);
            for (index part = 0; part < parts; ++part) sum += sums[part * size + i * c.cols + j];
            c(i, j) = sum;
        }
    }
    finish(0, 0, c);
}

// c = a b, or c += a b, on the pool's threads; finish as in multiply_prefetched, from several threads at once.
template <class T, class Finish = Nothing>
void multiply_shared(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Finish finish = {}, Cut cut = Cut::anyhow,
                     bool accumulate = false) {
    const double operations = 2.0 * double(c.rows) * double(c.cols) * double(a.cols);
    const index threads = index(smaller(double(num_threads()), operations / worth_a_thread));
    if (threads <= 1) return multiply(a, b, c, finish, accumulate);
    const Grid pieces = grid(a, c, threads, cut);
    if (pieces.rows * pieces.cols < threads || (c.rows * c.cols <= 128 * 128 && a.cols >= 16 * larger(c.rows, c.cols)))
        if (cut == Cut::anyhow) return multiply_in_parts(a, b, c, threads, finish, accumulate);
    const index height = round_up((c.rows + pieces.rows - 1) / pieces.rows, tile_rows);
    const index width = round_up((c.cols + pieces.cols - 1) / pieces.cols, tile_cols<T>);
    share(pieces.rows * pieces.cols, [&](index piece) {
        const index i0 = piece / pieces.cols * height, j0 = piece % pieces.cols * width;
        const index rows = smaller(height, c.rows - i0), cols = smaller(width, c.cols - j0);
        if (rows <= 0 || cols <= 0) return;  // rounding up has left nothing for the last ones
        multiply(a.block(i0, 0, rows, a.cols), b.block(0, j0, b.rows, cols), c.block(i0, j0, rows, cols),
                 finish.of_piece(i0, j0), accumulate);
    });
}

template <class T>
void parallel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    multiply_shared(a, b, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
