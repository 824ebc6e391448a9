// The micro-kernel: a tile of c in vector registers, the innermost loop of every rung from register_tiled upwards.
//
//     c(i, j) (+)= sum over p of a(i, p) b(p, j)        6 rows i, 4 vectors of columns j (2 vectors with 16 registers)
//
// A step of p loads a row of b, 4 vectors, and broadcasts 6 elements of a: 10 loads for 24 vector multiply-adds. c is
// loaded and stored once for all steps. At the edges of c a tile has fewer rows and columns. Each height and number of
// vectors has its own function, so that no work is done for elements that do not exist.
#pragma once

#include "simd/vector.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

// The tile's sums, a row of b and one broadcast element of a must fit the registers: 6 x 4 + 4 + 1 = 29 of 32, or 6 x 2
// + 2 + 1 = 15 of 16. Two multiply-add units with a latency of 4 cycles need 8 or more independent sums to stay busy;
// there are 24, or 12.
inline constexpr int tile_rows = 6;
inline constexpr int tile_vectors = vector_registers == 32 ? 4 : 2;
template <class T>
inline constexpr int tile_cols = tile_vectors * lanes<T>;

// c = a b, or c += a b, for a c of at most tile_rows x tile_cols with contiguous rows. a is read element by element, so
// it may have any strides.
template <class T>
struct Tile {
    Matrix<const T> a, b;
    Matrix<T> c;
    bool add;
    const T* next_a = nullptr;     // the next tile's a, with a's strides: prefetched meanwhile
    const T* other = nullptr;      // the same tile of the matrix that the epilogue touches: prefetched too
    index other_row_stride = 0;
    Matrix<const T> later_b = {};  // rows of b for tiles that come later: prefetched into L2
    T* packed_b = nullptr;         // receives a copy of b, its rows padded with zeros to whole vectors
};

enum class Reading {
    whole,     // a row of b as whole vectors: packed, or no edge
    ragged,    // the last vector only up to the end of the row
    gathered,  // element by element, with any stride
};

// How many steps ahead rows of b are prefetched. They lie a row of the whole matrix apart, often more than a page,
// where the hardware's prefetchers do not follow. 8 steps are 200 cycles.
inline constexpr int rows_ahead = 8;

// Vectors rarely begin at a cache line, so a row of n vectors touches n + 1 lines. The first line is in the cache since
// the tile to the left: prefetch the line in which a vector ends.
template <bool to_write = false, class T>
LOOPNEST_INLINE void prefetch_end(const T* vector) { __builtin_prefetch(vector + lanes<T> - 1, to_write); }

// What a tile prefetches while it multiplies: nothing, or its own c, the next tile's a, and its share of a later b.
enum class Fetching { nothing, next_tile };

template <int rows, int vectors, Reading reading, bool packing, Fetching fetching, class T>
LOOPNEST_INLINE void multiply_tile(const Tile<T>& tile) {
    constexpr index line = 64 / sizeof(T);
    const index inner = tile.a.cols, a_row_stride = tile.a.row_stride, a_step = tile.a.col_stride;
    const index b_step = tile.b.row_stride, last = tile.c.cols - (vectors - 1) * lanes<T>;
    const T *a = tile.a.data, *b = tile.b.data, *next_a = tile.next_a;
    T* packed_b = tile.packed_b;
    Vec<T> sum[rows][vectors] = {};

    const auto step = [&]() __attribute__((always_inline)) {
        Vec<T> b_row[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            const T* const from = b + v * lanes<T>;
            if constexpr (reading == Reading::gathered)
                b_row[v] = gather(b + v * lanes<T> * tile.b.col_stride, tile.b.col_stride, tile.c.cols - v * lanes<T>);
            else if (reading == Reading::ragged && v + 1 == vectors)
                b_row[v] = load_first(from, last);
            else
                b_row[v] = load(from);
            if constexpr (packing) {
                store<T>(packed_b + v * lanes<T>, b_row[v]);
                prefetch_end(from + rows_ahead * b_step);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[i][v] += a[i * a_row_stride] * b_row[v];
        a += a_step;
        b += b_step;
        if constexpr (packing) packed_b += vectors * lanes<T>;
    };

    index p = 0;
    if constexpr (fetching == Fetching::next_tile) {
        // A few lines at a time: 24 prefetches in succession were measured to cost 50 cycles.
        constexpr index lines = rows * vectors;
        const index at_once = (lines * line + inner - 1) / larger(inner, 1);
        index fetched = 0, later = 0;
        const index rows_at_once = (tile.later_b.rows * line + inner - 1) / larger(inner, 1);
        for (; p + line <= inner; p += line, next_a += line * a_step) {
            for (const index until = smaller(fetched + at_once, lines); fetched < until; ++fetched) {
                const index i = fetched / vectors, j = fetched % vectors * lanes<T>;
                prefetch_end<true>(tile.c.data + i * tile.c.row_stride + j);
                if (tile.other) prefetch_end(tile.other + i * tile.other_row_stride + j);
            }
            for (const index until = smaller(later + rows_at_once, tile.later_b.rows); later < until; ++later)
                for (index j = 0; j < tile.later_b.cols; j += line) __builtin_prefetch(&tile.later_b(later, j), 0, 2);
#pragma GCC unroll 6
            for (int i = 0; i < rows; ++i) __builtin_prefetch(next_a + i * a_row_stride, 0, 2);
            // A step is long enough: unrolled as the compiler likes, narrow tiles would be 9 KB of code each.
#pragma GCC unroll 1
            for (int n = 0; n < line; ++n) step();
        }
    }
#pragma GCC unroll 1
    for (; p < inner; ++p) step();

#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            T* const at = tile.c.data + i * tile.c.row_stride + v * lanes<T>;
            if (v + 1 < vectors || last == lanes<T>)
                store<T>(at, tile.add ? load(at) + sum[i][v] : sum[i][v]);
            else
                store_first<T>(at, tile.add ? load_first(at, last) + sum[i][v] : sum[i][v], last);
        }
}

template <int rows, int vectors, Reading reading, bool packing, Fetching fetching, class T>
void tile_function(const Tile<T>& tile) {
    multiply_tile<rows, vectors, reading, packing, fetching>(tile);
}

// multiply_tile for tiles of any size with packed operands.
template <class T, Fetching fetching = Fetching::next_tile>
LOOPNEST_INLINE void multiply(const Tile<T>& tile) {
    static constexpr auto functions = []<int... n>(std::integer_sequence<int, n...>) {
        struct {
            void (*of[tile_rows][tile_vectors])(const Tile<T>&);
        } made = {{tile_function<n / tile_vectors + 1, n % tile_vectors + 1, Reading::whole, false, fetching, T>...}};
        return made;
    }(std::make_integer_sequence<int, tile_rows * tile_vectors>{});
    functions.of[tile.c.rows - 1][(tile.c.cols - 1) / lanes<T>](tile);
}

// The same for a tile of tile_rows rows that reads b where it lies and packs it.
template <class T>
LOOPNEST_INLINE void multiply_and_pack(const Tile<T>& tile) {
    static constexpr auto functions = []<int... n>(std::integer_sequence<int, n...>) {
        struct {
            void (*of[2][tile_vectors])(const Tile<T>&);
        } made = {{{tile_function<tile_rows, n + 1, Reading::whole, true, Fetching::next_tile, T>...},
                   {tile_function<tile_rows, n + 1, Reading::ragged, true, Fetching::next_tile, T>...}}};
        return made;
    }(std::make_integer_sequence<int, tile_vectors>{});
    functions.of[tile.c.cols % lanes<T> != 0][(tile.c.cols - 1) / lanes<T>](tile);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
