// The algorithm that suits the shapes, on one thread.
//
//     few rows or columns      few_rows.hpp: the large operand is streamed once
//     k <= 4                   few_products.hpp: c is written row by row
//     k <= 64                  row_bands.hpp: c is written along bands of rows
//     b small, or a not high   register_tiled.hpp: nothing is packed, nothing allocated
//     otherwise                prefetched.hpp
#pragma once

#include "matmul/kernel/few_products.hpp"
#include "matmul/kernel/few_rows.hpp"
#include "matmul/kernel/row_bands.hpp"
#include "matmul/prefetched.hpp"
#include "matmul/register_tiled.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

enum class Way { rows, dots, few_products, bands, in_place, packed };

// How a product is computed, and why so. If `turned`, it is computed as cᵀ = bᵀ aᵀ; if `scattered` too, into scratch
// memory, since cᵀ has no contiguous rows.
struct Plan {
    Way way;
    const char* why;
    bool turned = false, scattered = false;
};

// With at most this many rows of a, each element of a packed b would serve too few of them.
inline constexpr index too_low_to_pack = vector_registers == 32 ? 32 : tile_rows;

// Reading b in place was measured to be faster than packing it if a is low, or if the memory from b's first row to its
// last, gaps included, takes at most a quarter of L2. With 16 registers tiles have half as many columns, walk twice as
// far down b, and the bound is a sixteenth.
template <class T>
const char* better_in_place(Matrix<const T> b, Matrix<T> c) {
    if (!b.contiguous_rows()) return nullptr;
    if (c.rows <= too_low_to_pack) return "a has few rows, so that packing b would not pay";
    const index small = cache_sizes().l2 / (vector_registers == 32 ? 4 : 16);
    const index span = (b.rows - 1) * length(b.row_stride) + b.cols;
    return span * index(sizeof(T)) <= small ? "b spans a small part of the L2 cache" : nullptr;
}

// register_tiled leaves c in the cache, where the epilogue then finds it; or there is none, and c is written once.
template <class Epilogue, class T>
bool epilogue_finds_c(Matrix<T> c) {
    if (c.rows * c.cols * index(sizeof(T)) <= cache_sizes().l2 / 4) return true;
    return __is_same(Epilogue, NoEpilogue) && (c.cols <= tile_cols<T> || c.rows <= too_low_to_pack);
}

// Columns of c up to which dot products along contiguous rows of a are faster than tiles, which leave the other lanes
// idle: four, and up to half a vector if the sums are long, so that adding up their lanes does not show.
template <class T>
index narrow(index inner) { return larger(inner < 256 ? lanes<T> * 3 / 8 : lanes<T> / 2, 4); }

// The plan of c = a b for a c with contiguous rows.
template <class Epilogue, class T>
Plan plan_of(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (b.rows > 0) {
        const Matrix<T> turned = c.transposed();
        if (rows_suit(b, c)) {
            if (b.cols <= tile_cols<T>)
                return {Way::in_place, "a has few rows, b few columns: the sums fit the registers"};
            return {Way::rows, "a has few rows: b is read once, row by row"};
        }
        if (c.cols <= few_by_rows && a.row_stride == 1) {
            const bool scattered = !turned.contiguous_rows();
            if (a.rows <= tile_cols<T>)
                return {Way::in_place, "b has few columns, a few rows: the sums fit the registers", true, scattered};
            return {Way::rows, "b has few columns: a is read once, column by column", true, scattered};
        }
        if (a.row_stride == 1 && b.row_stride == 1 && b.rows >= long_dot<T>(1) && c.rows > few_by_rows &&
            c.rows <= tile_cols<T> && c.cols <= few_by_dots)
            return {Way::in_place, "a and b have contiguous columns, c is small: its transpose is computed in place",
                    true, true};
        const bool turned_dots = dots_suit(a.transposed(), turned);
        if (dots_suit(b, c) && !(turned_dots && c.cols < c.rows))
            return {Way::dots, "a has few rows, b contiguous columns: each element is a dot product"};
        const bool tiles_suit = c.cols > narrow<T>(b.rows) && (b.row_stride != 1 || c.rows > few_by_dots);
        if (turned_dots && !tiles_suit)
            return {Way::dots, "b has few columns, a contiguous rows: each element is a dot product", true};
    }
    const bool c_is_large = c.rows * c.cols * index(sizeof(T)) > cache_sizes().l2, bands = bands_suit(b, c);
    if (few_products_suit(b, c) && !(bands && c_is_large && a.cols > 1))
        return {Way::few_products, "sums of at most four products: c is written row by row"};
    if (bands) return {Way::bands, "short sums: c is written along bands of rows"};
    if (const char* why = better_in_place(b, c); why && epilogue_finds_c<Epilogue>(c)) return {Way::in_place, why};
    return {Way::packed, "b is packed by the first tile that reads it"};
}

template <class T>
void multiply_skinny(Way way, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (way == Way::in_place) return register_tiled(a, b, c);
    way == Way::rows ? few_rows_by_rows(a, b, c) : few_rows_by_dots(a, b, c);
}

// The same as the transposed product.
template <class T>
void multiply_turned(const Plan& plan, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (!plan.scattered) return multiply_skinny<T>(plan.way, b.transposed(), a.transposed(), c.transposed());
    const Matrix<T> rows = {scratch<T>(Slot::skinny, c.rows * c.cols), c.cols, c.rows, c.rows, 1};
    multiply_skinny<T>(plan.way, b.transposed(), a.transposed(), rows);
    for (index i = 0; i < c.rows; ++i)
        for (index j = 0; j < c.cols; ++j) c(i, j) = rows(j, i);
}

// c = a b, or c += a b, and then the epilogue for each tile of c, or once for all of it.
template <class T, class Epilogue = NoEpilogue>
void multiply(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue = {}, bool accumulate = false) {
    if (accumulate) return multiply_prefetched(a, b, c, epilogue, true);
    const Plan plan = plan_of<Epilogue>(a, b, c);
    if (plan.way == Way::packed) return multiply_prefetched(a, b, c, epilogue);
    if (plan.way == Way::bands) return row_bands(a, b, c, epilogue);
    if (plan.way == Way::few_products)
        few_products(a, b, c);
    else
        plan.turned ? multiply_turned(plan, a, b, c) : multiply_skinny(plan.way, a, b, c);
    epilogue.apply(0, 0, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
