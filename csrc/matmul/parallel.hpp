// All cores: c is cut into pieces, and each piece is a product that takes the algorithm for its shape.
//
//     c in a grid of pieces          no two threads write the same memory, and each waits for others at the end only
//     the sums in parts              each thread adds up its part of p in scratch memory, and the parts are added in
//                                    the order of p: for a small c with long sums
//
// Which cut is best depends on what is read in short runs, read or copied twice, or left over at the end. An estimate of
// each piece's time compares the cuts (`effort`). The choice depends on the shapes and the number of threads alone, so
// that every call gives the same bits, whichever thread takes which piece. Below some 8 µs of one core, a second
// core would come too late. The limit is the cores' clock, and the memory and L3 cache that they share.
#pragma once

#include "matmul/kernel/by_shape.hpp"
#include "runtime/threads.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

inline constexpr double worth_a_thread = 5e5;      // operations: some 4 µs of one core
inline constexpr double long_effort = 1e8;         // multiply-adds: some ms of one core
inline constexpr index largest_in_parts = 1 << 18;  // elements of c that one thread adds up

// How c is cut.
enum class Cut { anyhow, columns };

// The estimated time of a product, in multiply-adds. An operand costs by the elements that are read or written, and each
// run of neighbours in memory counts as `gap` elements more, since prefetching starts anew: two multiply-adds for an
// element of b, and 16 for one of a and of c. Fitted to 573 products in all layouts, each cut in twelve ways, on two
// cores of a Zen 4.
template <class T>
double effort(Matrix<const T> a, Matrix<const T> b, index rows, index inner, index cols) {
    constexpr double gap = 32, gap_of_columns = 256;
    const double m = double(rows), k = double(inner), n = double(cols);
    const double in_a = a.contiguous_rows() ? m * (k + gap) : k * (m + gap);
    const double in_b = b.contiguous_rows() ? k * (n + gap) : n * (k + gap_of_columns);
    return m * k * double(round_up(cols, lanes<T>)) + 16 * in_a + 2 * in_b + 16 * m * (n + gap);
}

// How a product is shared: c in pieces of this size, or all of it, and the sums in parts.
struct Shares {
    index rows, cols;
    index parts = 1;
};

// What a cut through the lines of `rows` rows, that far apart, costs: two cores write these lines in turn.
template <class T>
double torn_lines(index rows, index stride) { return stride * index(sizeof(T)) % 64 ? 4000.0 * double(rows) : 0; }

// The shares with the least effort for the busiest thread. A long product has more pieces than threads, since other work
// may come between. A short one has not: a piece that changes its core finds nothing of it in that core's caches.
template <class Epilogue, class T>
Shares best_shares_of_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index threads, Cut cut) {
    const index most = 4 * threads, row_units = cut == Cut::columns ? 1 : (c.rows + tile_rows - 1) / tile_rows;
    const index col_units = (c.cols + tile_cols<T> - 1) / tile_cols<T>;
    const double waiting = effort(a, b, c.rows, a.cols, c.cols) > long_effort ? 0.02 : 0;  // for the last piece's end
    Shares best = {c.rows, c.cols, threads};
    double least = 1e300;
    if (cut == Cut::anyhow && c.rows * c.cols <= largest_in_parts) {
        const double sums = double(c.rows * (c.cols + 32) * (1 + threads));
        least = effort(a, b, c.rows, (a.cols + threads - 1) / threads, c.cols) +
                sums * (__is_same(Epilogue, NoEpilogue) ? 32 : 64);
    }
    for (index rows = 1; rows <= smaller(row_units, most); ++rows)
        for (index cols = 1; cols <= smaller(col_units, most / rows); ++cols) {
            const index height = smaller(round_up((c.rows + rows - 1) / rows, tile_rows), c.rows);
            const index width = smaller(round_up((c.cols + cols - 1) / cols, tile_cols<T>), c.cols);
            const index rounds = (rows * cols + threads - 1) / threads;
            double torn = 0;
            if (cols > 1 && c.col_stride == 1) torn = torn_lines<T>(height, c.row_stride);
            if (rows > 1 && c.row_stride == 1) torn = torn_lines<T>(width, c.col_stride);
            const double busiest = (double(rounds) + waiting) * (effort(a, b, height, a.cols, width) + torn);
            if (busiest < least) least = busiest, best = {height, width};
        }
    return best;
}

// The same for any product: tiles lie along the columns of c if it is computed as cᵀ = bᵀ aᵀ.
template <class Epilogue, class T>
Shares best_shares(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, index threads, Cut cut) {
    if (cut != Cut::anyhow || !better_turned(a, b, c)) return best_shares_of_rows<Epilogue>(a, b, c, threads, cut);
    const Shares shares = best_shares_of_rows<Epilogue>(b.transposed(), a.transposed(), c.transposed(), threads, cut);
    return {shares.cols, shares.rows, shares.parts};
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

// How many threads a product is worth. Each gets some 4 µs of work, in operations or in memory that is read: with that
// much, two threads were hardly ever slower than one.
template <class T>
index threads_for(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (num_threads() == 1) return 1;
    const double operations = 2.0 * double(c.rows) * double(c.cols) * double(a.cols);
    const double reading = effort(a, b, c.rows, a.cols, c.cols) / (50e3 * double(lanes<T>));
    return smaller(num_threads(), larger(index(operations / worth_a_thread), index(reading)));
}

// c = a b, or c += a b, on the pool's threads. Several threads apply the epilogue at once.
template <class T, class Epilogue = NoEpilogue>
void multiply_shared(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue = {}, Cut cut = Cut::anyhow,
                     bool accumulate = false) {
    const index threads = threads_for(a, b, c);
    if (threads <= 1) return multiply(a, b, c, epilogue, accumulate);
    const auto [height, width, parts] = best_shares<Epilogue>(a, b, c, threads, cut);
    if (parts > 1) return multiply_in_parts(a, b, c, parts, epilogue, accumulate);
    const index across = (c.cols + width - 1) / width, down = (c.rows + height - 1) / height;
    share(down * across, [&, height = height, width = width](index piece) {
        const index i = piece / across * height, j = piece % across * width;
        const index rows = smaller(height, c.rows - i), cols = smaller(width, c.cols - j);
        multiply(a.block(i, 0, rows, a.cols), b.block(0, j, b.rows, cols), c.block(i, j, rows, cols),
                 epilogue.of_piece(i, j), accumulate);
    });
}

// What `loopnest.matmul.why` reports: why the first piece is computed as it is; and in `how` the number of pieces that
// c has in rows and in columns, or the parts in which the sums are cut, and whether it is turned, and with a copied b.
template <class T>
const char* why(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Vector<std::int64_t> how) {
    const index threads = threads_for(a, b, c);
    Shares shares = {c.rows, c.cols};
    if (threads > 1) shares = best_shares<NoEpilogue>(a, b, c, threads, Cut::anyhow);
    const auto [rows, cols, parts] = shares;
    const index inner = (a.cols + parts - 1) / parts;
    const Plan plan =
        plan_of<NoEpilogue>(a.block(0, 0, rows, inner), b.block(0, 0, inner, cols), c.block(0, 0, rows, cols));
    how[0] = rows ? (c.rows + rows - 1) / rows : 1, how[1] = cols ? (c.cols + cols - 1) / cols : 1, how[2] = parts;
    how[3] = plan.turned, how[4] = plan.copied;
    return plan.why;
}

template <class T>
void parallel(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) { multiply_shared(a, b, c); }

}  // namespace loopnest::LOOPNEST_ISA::matmul
