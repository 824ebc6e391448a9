// All cores: c is cut into pieces, and each piece is a product that takes the algorithm for its shape.
//
// No two threads write the same memory and none waits for another: they share only what is read. c is cut into columns
// if possible, since reading a in place then costs nothing twice and one thread packs each micro-panel of b. An a that
// must be packed is cut into rows instead. There are up to four pieces a thread, so that little waits at the end. If c
// is small and the sums are long (tall k), the sums are cut: each thread adds up its part of p in scratch memory,
// and the parts are added in the order of p. So at a given number of threads every call gives the same bits, whichever
// thread takes which piece. Below some 2 million operations, 20 µs of one core, a second core would come too late. The
// limit is the cores' clock, and the memory and the L3 cache that they share.
#pragma once

#include "matmul/kernel/by_shape.hpp"
#include "runtime/threads.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

inline constexpr double worth_a_thread = 1e6;  // operations; measured: at 2 million two threads are as fast as one

// How c is cut.
enum class Cut { anyhow, columns };

struct Grid {
    index rows, cols;  // of pieces
};

// The grid that leaves the least work to the busiest thread: pieces times tiles. Among equal grids the one with the
// fewest cuts of rows, since each makes the threads pack b once more, and then the one with the most pieces.
template <class T>
Grid grid(Matrix<const T> a, Matrix<T> c, index threads, Cut cut) {
    if (threads == 1) return {1, 1};
    const index row_units = (c.rows + tile_rows - 1) / tile_rows, most = 4 * threads;
    const index col_units = (c.cols + tile_cols<T> - 1) / tile_cols<T>;
    const bool rows_first = cut == Cut::anyhow && !read_in_place(a, c.cols) && row_units >= 2 * threads;
    Grid best = {1, 1};
    double least = 0;
    const double even_share = double((row_units * col_units + threads - 1) / threads);  // of the busiest thread
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

// Whole tiles.
template <class T>
Grid piece_size(Matrix<T> c, Grid pieces) {
    return {round_up((c.rows + pieces.rows - 1) / pieces.rows, tile_rows),
            round_up((c.cols + pieces.cols - 1) / pieces.cols, tile_cols<T>)};
}

// c = a b with the sums cut into parts, which are added in order.
template <class T, class Epilogue>
void multiply_in_parts(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index parts, Epilogue epilogue,
                       bool accumulate) {
    const index depth = (a.cols + parts - 1) / parts, size = c.rows * c.cols;
    T* const sums = scratch<T>(Slot::parts, parts * size);
    share(parts, [&](index part) {
        const index p = part * depth, inner = smaller(depth, larger(a.cols - p, 0));
        multiply<T>(a.block(0, p, a.rows, inner), b.block(p, 0, inner, b.cols),
                    {sums + part * size, c.rows, c.cols, c.cols, 1});
    });
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) {
            T sum = accumulate ? c(i, j) : T(0);
            for (index part = 0; part < parts; ++part) sum += sums[part * size + i * c.cols + j];
            c(i, j) = sum;
        }
    epilogue.apply(0, 0, c);
}

// How many threads a product of these sizes is worth.
template <class T>
index threads_for(Matrix<const T> a, Matrix<T> c) {
    const double operations = 2.0 * double(c.rows) * double(c.cols) * double(a.cols);
    return index(smaller(double(num_threads()), operations / worth_a_thread));
}

// Whether the sums are cut rather than c: there are too few pieces of c, or c is small and the sums are long.
template <class T>
bool better_in_parts(Matrix<const T> a, Matrix<T> c, Grid pieces, index threads) {
    return pieces.rows * pieces.cols < threads ||
           (c.rows * c.cols <= 128 * 128 && a.cols >= 16 * larger(c.rows, c.cols));
}

// c = a b, or c += a b, on the pool's threads. Several threads apply the epilogue at once.
template <class T, class Epilogue = NoEpilogue>
void multiply_shared(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue = {}, Cut cut = Cut::anyhow,
                     bool accumulate = false) {
    const index threads = threads_for(a, c);
    if (threads <= 1) return multiply(a, b, c, epilogue, accumulate);
    const Grid pieces = grid(a, c, threads, cut);
    if (cut == Cut::anyhow && better_in_parts(a, c, pieces, threads))
        return multiply_in_parts(a, b, c, threads, epilogue, accumulate);
    const auto [height, width] = piece_size(c, pieces);
    share(pieces.rows * pieces.cols, [&](index piece) {
        const index i0 = piece / pieces.cols * height, j0 = piece % pieces.cols * width;
        const index rows = smaller(height, c.rows - i0), cols = smaller(width, c.cols - j0);
        if (rows <= 0 || cols <= 0) return;  // rounding up left nothing for it
        multiply(a.block(i0, 0, rows, a.cols), b.block(0, j0, b.rows, cols), c.block(i0, j0, rows, cols),
                 epilogue.of_piece(i0, j0), accumulate);
    });
}

// What `loopnest.matmul.why` reports: why the first piece is computed as it is; and in `how` the number of pieces that
// c has in rows and in columns, or the parts in which the sums are cut, and whether it is turned, and with a copied b.
template <class T>
const char* why(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Vector<std::int64_t> how) {
    const index threads = threads_for(a, c);
    Grid pieces = {1, 1};
    index parts = 1;
    if (threads > 1) {
        pieces = grid(a, c, threads, Cut::anyhow);
        if (better_in_parts(a, c, pieces, threads)) pieces = {1, 1}, parts = threads;
    }
    const auto [height, width] = piece_size(c, pieces);
    const index rows = smaller(height, c.rows), cols = smaller(width, c.cols), inner = (a.cols + parts - 1) / parts;
    const Plan plan =
        plan_of<NoEpilogue>(a.block(0, 0, rows, inner), b.block(0, 0, inner, cols), c.block(0, 0, rows, cols));
    how[0] = pieces.rows, how[1] = pieces.cols, how[2] = parts, how[3] = plan.turned, how[4] = plan.copied;
    return plan.why;
}

template <class T>
void parallel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) { multiply_shared(a, b, c); }

}  // namespace loopnest::LOOPNEST_ISA::matmul
