// The algorithm that suits the shapes and the layouts, on one thread.
//
//     c narrow, or low                            turned: computed as cᵀ = bᵀ aᵀ, whose rows are long
//     few rows or columns                         few_rows.hpp: the large operand is streamed once
//     b small, without contiguous rows            copied: transposed once, and then as below
//     k <= 4                                      few_products.hpp: c is written row by row
//     k <= 64                                     row_bands.hpp: c is written along bands of rows
//     b small, or a not high                      register_tiled.hpp: nothing is packed, nothing allocated
//     otherwise                                   prefetched.hpp
//
// Vectors go along rows of b and c. A narrow c leaves most of a vector's lanes idle; its transpose may fill them. If
// both operands have contiguous columns, the transposed product has contiguous rows. Transposing c back, or b before,
// takes half a cycle an element, by squares in registers (linalg/transpose_simd.hpp).
#pragma once

#include <vector>

#include "linalg/transpose_simd.hpp"
#include "matmul/kernel/few_products.hpp"
#include "matmul/kernel/few_rows.hpp"
#include "matmul/kernel/row_bands.hpp"
#include "matmul/prefetched.hpp"
#include "matmul/register_tiled.hpp"
#include "runtime/choices.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

enum class Way { rows, dots, few_products, bands, in_place, packed };

// How a product is computed, and why so.
struct Plan {
    Way way;
    const char* why;
    bool turned = false;  // as cᵀ = bᵀ aᵀ
    bool copied = false;  // with a transposed copy of b
};

// Whether reading b element by element, once for each row of tiles, is faster than copying it.
template <class T>
bool few_elements(Matrix<const T> b, Matrix<T> c) {
    return c.rows <= tile_rows || (b.rows <= 4 && c.rows <= 2 * tile_rows) || c.rows / 8 * b.rows * b.cols <= 512;
}

// With at most this many rows of a, each element of a packed b would serve too few of them.
inline constexpr index too_low_to_pack = vector_registers == 32 ? 32 : tile_rows;

// Whether tiles that read a b beyond L2 in place, down its rows, are faster than packing it, which prefetches. For 16
// rows a Zen 4 core is 15 % faster in place; an Emerald Rapids core was less than half as fast as its peers.
inline bool low_rows_in_place() {
    static const bool answer = [] {
        const index k = 512, n = round_up(cache_sizes().l2 * 2 / (k * index(sizeof(float))), tile_cols<float>) + 16;
        std::vector<float> a(16 * k, 1), b(k * n, 1), c(16 * n);
        const Matrix<const float> left = {a.data(), 16, k, k, 1}, right = {b.data(), k, n, n, 1};
        const Matrix<float> result = {c.data(), 16, n, n, 1};
        return faster(
            "low_rows_in_place", true, [&] { register_tiled(left, right, result); },
            [&] { multiply_prefetched(left, right, result); });
    }();
    return answer;
}

// Reading b in place was measured to be faster than packing it if the memory from b's first row to its last, gaps
// included, takes at most a quarter of L2. With 16 registers tiles have half as many columns, walk twice as far down b,
// and the bound is a sixteenth. It is faster too if a is low, unless the tiles wait for b: each row of tiles reads it
// from L3 once more, and nothing prefetches it as packing does.
template <class T>
const char* better_in_place(Matrix<const T> b, Matrix<T> c) {
    if (!b.contiguous_rows()) return nullptr;
    const CacheSizes& cache = cache_sizes();
    const index size = b.rows * b.cols * index(sizeof(T));
    const bool tiles_wait = size > cache.l3 * 3 / 8 || c.rows * size > cache.l3 * 6;
    if (c.rows <= too_low_to_pack && !tiles_wait && (size <= cache.l2 || c.rows <= tile_rows || low_rows_in_place()))
        return "a has few rows, so that packing b would not pay";
    const index small = cache.l2 / (vector_registers == 32 ? 4 : 16);
    return span(b) * index(sizeof(T)) <= small ? "b spans a small part of the L2 cache" : nullptr;
}

// register_tiled leaves c in the cache, where the epilogue then finds it; or there is none, and c is written once.
template <class Epilogue, class T>
bool epilogue_finds_c(Matrix<T> c) {
    if (c.rows * c.cols * index(sizeof(T)) <= cache_sizes().l2 / 4) return true;
    return __is_same(Epilogue, NoEpilogue) && (c.cols <= tile_cols<T> || c.rows <= too_low_to_pack);
}

// The plan of c = a b for a b and a c with contiguous rows.
template <class Epilogue, class T>
Plan plan_of_rows(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const bool c_is_large = c.rows * c.cols * index(sizeof(T)) > cache_sizes().l2, bands = bands_suit(b, c);
    if (few_products_suit(b, c) && !(bands && c_is_large && a.cols > 1))
        return {Way::few_products, "sums of at most four products: c is written row by row"};
    if (bands) return {Way::bands, "short sums: c is written along bands of rows"};
    if (const char* why = better_in_place(b, c); why && epilogue_finds_c<Epilogue>(c)) return {Way::in_place, why};
    return {Way::packed, "b is packed by the first tile that reads it"};
}

// The same for any b.
template <class Epilogue, class T>
Plan plan_as_it_is(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (b.rows == 0) return plan_of_rows<Epilogue>(a, b, c);
    if (rows_suit(b, c)) {
        if (b.cols <= tile_cols<T>)
            return {Way::in_place, "a has few rows, b few columns: the sums fit the registers"};
        return {Way::rows, "a has few rows: b is read once, row by row"};
    }
    if (dots_suit(a, b, c))
        return {Way::dots, "few rows or columns: each element is a dot product", dots_turned(a, b, c)};
    if (b.contiguous_rows()) return plan_of_rows<Epilogue>(a, b, c);
    if (few_elements(b, c)) return {Way::in_place, "a small product: b is read element by element"};
    if (streamed(b)) return plan_of_rows<Epilogue>(a, b, c);  // too large to be transposed as a whole
    Plan plan = plan_of_rows<Epilogue>(a, Matrix<const T>{b.data, b.rows, b.cols, b.cols, 1}, c);
    plan.copied = true;
    return plan;
}

// Whether finding out the best way would take longer than the product.
template <class T>
bool tiny(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (c.rows * c.cols * a.cols > 8192 || (c.rows > 8 && c.cols <= 8 && a.cols > 16)) return false;
    if (c.cols == 1 && c.rows >= lanes<T> && a.contiguous_rows()) return false;  // a vector of dots at once
    return b.contiguous_rows() || (few_elements(b, c) && a.cols < long_dot<T>(2));
}

// The share of their vectors' lanes that `cols` columns fill.
template <class T>
double filled(index cols) { return double(cols) / double(round_up(cols, lanes<T>)); }

// Whether c = a b is better computed as cᵀ = bᵀ aᵀ.
template <class T>
bool better_turned(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    const bool a_in_columns = a.row_stride == 1 && !a.contiguous_rows();
    if (a_in_columns && c.cols <= few_by_rows) return true;
    if (c.rows * c.cols * index(sizeof(T)) > cache_sizes().l3 / 8) return false;  // it is transposed back
    const bool long_sums = b.rows > 64;
    if (a_in_columns && b.contiguous_rows()) {
        const bool large_a = a.rows * a.cols * index(sizeof(T)) > 4 * cache_sizes().l2;  // read along the rows of aᵀ
        const bool fills_more = filled<T>(c.rows) >= 1.25 * filled<T>(c.cols);
        return long_sums && (fills_more || (large_a && c.cols <= 4 * tile_cols<T>));
    }
    if (a_in_columns && b.row_stride == 1)  // or both would have to be transposed
        return b.rows > 16 && c.rows > tile_rows && (long_sums || c.cols < 64 || c.rows <= 12);
    if (!b.contiguous_rows() && b.row_stride == 1 && a.contiguous_rows())  // bᵀ is read where it is, aᵀ is copied
        return long_sums && c.rows > tile_rows && c.rows <= few_by_dots && c.cols >= 64 && filled<T>(c.rows) >= 0.7;
    return false;
}

// The plan of c = a b for a c with contiguous rows.
template <class Epilogue, class T>
Plan plan_of(Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
    if (tiny(a, b, c)) return {Way::in_place, "a small product: nothing is copied"};
    if (!better_turned(a, b, c)) return plan_as_it_is<Epilogue>(a, b, c);
    const Matrix<T> turned = {c.data, c.cols, c.rows, c.rows, 1};
    Plan plan = plan_as_it_is<NoEpilogue>(b.transposed(), a.transposed(), turned);
    plan.turned = !plan.turned;
    return plan;
}

template <class T, class Epilogue>
void follow(const Plan& plan, Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue) {
    if (plan.copied) {
        const Matrix<T> copy = {scratch<T>(Slot::copied, b.rows * b.cols), b.rows, b.cols, b.cols, 1};
        transpose::simd<T>(b.transposed(), copy);
        b = copy;
    }
    switch (plan.way) {
        case Way::packed: return multiply_prefetched(a, b, c, epilogue);
        case Way::bands: return row_bands(a, b, c, epilogue);
        case Way::few_products: few_products(a, b, c); break;
        case Way::in_place: register_tiled(a, b, c); break;
        case Way::rows: few_rows_by_rows(a, b, c); break;
        case Way::dots: few_rows_by_dots(a, b, c); break;
    }
    epilogue.apply(0, 0, c);
}

// c = a b, or c += a b, and then the epilogue for each tile of c, or once for all of it.
template <class T, class Epilogue = NoEpilogue>
void multiply(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Epilogue epilogue = {}, bool accumulate = false) {
    if (accumulate) return multiply_prefetched(a, b, c, epilogue, true);
    const Plan plan = plan_of<Epilogue>(a, b, c);
    if (!plan.turned) return follow(plan, a, b, c, epilogue);
    const bool direct = plan.way == Way::dots || c.transposed().contiguous_rows();
    const Matrix<T> turned = direct ? c.transposed()
                                    : Matrix<T>{scratch<T>(Slot::turned, c.rows * c.cols), c.cols, c.rows, c.rows, 1};
    follow<T>(plan, b.transposed(), a.transposed(), turned, NoEpilogue{});
    if (!direct) transpose::simd<T>(turned, c);
    epilogue.apply(0, 0, c);
}

}  // namespace loopnest::LOOPNEST_ISA::matmul
