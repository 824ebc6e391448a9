// A smooth function of one float as 32 polynomials, whose coefficients lie in registers: AVX-512 alone can do this.
//
// An AVX-512 register holds 16 floats, and one instruction (vpermt2ps) takes each of 16 lanes from any of the 32 floats
// in two of them. So a table of 32 floats costs no memory access. With the argument's range cut into 32 pieces, degree 5
// or 6 reaches float's precision for functions as steep as GELU's tail, without exp and without a division:
//
//     k = round(t / w)        h = t - c_k        F(t) = a_k0 + h (a_k1 + h (a_k2 + …))
//
// h is exact, since t and c_k are close (Sterbenz), and a_k0 is within a 1000th of an ULP of F(c_k) (see
// scripts/make_pieces.py): so nothing amplifies a rounding error of the argument, and what is left is the last addition's half ULP
// and a part of the one before. For degree 5, 7 table look-ups, 6 fused multiply-adds and some 6 cheaper instructions.
// Zen 4 runs a look-up where it runs multiplications, one vector a cycle, so 13 cycles are the limit for 16 elements.
#pragma once

#include "simd/math.hpp"
#include "simd/pieces_data.hpp"

#if defined(__AVX512F__)
#define LOOPNEST_PIECES

namespace loopnest::LOOPNEST_ISA {

LOOPNEST_INLINE constexpr bool is_power_of_two(float x) {
    return (__builtin_bit_cast(std::uint32_t, x) & 0x7fffff) == 0;
}

template <class Data>
class Pieces {
  public:
    LOOPNEST_INLINE Pieces() {
#pragma GCC unroll 8
        for (int power = 0; power <= Data::degree; ++power) {
            low[power] = load(Data::c[power]);
            high[power] = load(Data::c[power] + 16);
        }
        low_centre = load(Data::centre);
        high_centre = load(Data::centre + 16);
    }

    // F(t), t >= 0; beyond `top` that of top. NaN stays NaN.
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> t) const {
        constexpr float round_to_whole = 0x1.8p23f, last = 31 / Data::per_unit;
        t = smaller_of(Vec<float>{} + Data::top, t);
        // round(t / w) in the last bits of a sum too large for fractions; for w = 2^-n, of one too large for fractions of w.
        const Vec<float> until = smaller_of(Vec<float>{} + last, t);
        const Vec<float> piece = is_power_of_two(Data::per_unit) ? until + round_to_whole / Data::per_unit
                                                                 : until * Data::per_unit + round_to_whole;
        const auto k = __builtin_bit_cast(IntOf<Vec<float>>, piece);  // its last 5 bits
        const Vec<float> h = t - look_up(low_centre, high_centre, k);
        Vec<float> sum = look_up(low[Data::degree], high[Data::degree], k);
#pragma GCC unroll 8
        for (int power = Data::degree - 1; power >= 0; --power) sum = sum * h + look_up(low[power], high[power], k);
        return sum;
    }

  private:
    Vec<float> low_centre, high_centre, low[Data::degree + 1], high[Data::degree + 1];
};

// The end of the last piece but one: up to here the error is one of F's own ULPs. The last piece is wider, for arguments of
// which only F beside 1 counts.
template <class Data>
inline constexpr float near = 30.5f / Data::per_unit;

}  // namespace loopnest::LOOPNEST_ISA
#endif
