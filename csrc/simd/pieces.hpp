// A smooth function of one float as 32 or 8 polynomials, with coefficients in registers.
//
// One AVX-512 instruction (vpermt2ps) takes each of 16 lanes from any of the 32 floats in two registers; AVX2's vpermps
// takes 8 lanes from 8 floats, NEON's tbl 4 from 8. So a table costs no memory access. With 32 pieces polynomials of
// degree 5 or 6 reach float's precision, with 8 pieces of degree 8 to 11. There is no exp and no division:
//
//     k = round(t / w)        h = t - c_k        F(t) = a_k0 + h (a_k1 + h (a_k2 + …))
//
// h is exact (Sterbenz's lemma), and a_k0 is within a 1000th of an ULP of F(c_k) (scripts/make_pieces.py). So the error
// is the last addition's half ULP and a part of the one before. Degree 5 takes 7 look-ups and 5 fused multiply-adds.
#pragma once

#include "simd/math.hpp"

#if defined(LOOPNEST_TABLES)
#include "simd/pieces_data.hpp"

namespace loopnest::LOOPNEST_ISA {

// data: a PiecesData of Table::entries pieces. Make one before a loop, so that the tables are loaded into registers
// once.
template <const auto& data>
class Pieces {
    static constexpr int degree = data.degree;
    static constexpr float w = 1 / data.per_unit, last = (Table::entries - 1) * w;
    static constexpr bool w_is_a_power_of_two = (__builtin_bit_cast(std::uint32_t, data.per_unit) & 0x7fffff) == 0;

  public:
    LOOPNEST_INLINE Pieces() : centre(data.centre) {
#pragma GCC unroll 16
        for (int power = 0; power <= degree; ++power) c[power] = Table(data.c[power]);
    }

    // The end of the last piece but one, less a little for rounding. Up to here the error is small in F's own ULPs; in
    // the last piece it is small next to 1 or t.
    static constexpr float near = (last - w / 2) * 0.9999f;

    // F(t) for t >= 0; F(top) beyond `top`. NaN stays NaN.
    LOOPNEST_INLINE Vec<float> operator()(Vec<float> t) const {
        constexpr float round_to_whole = 0x1.8p23f;
        t = at_most(t, data.top);
        // Adding a number too large for fractions leaves round(t / w) in the last bits; for w = 2^-n, too large for
        // parts of w.
        const Vec<float> until = at_most(t, last);
        const IntOf<Vec<float>> k = bits_of(w_is_a_power_of_two ? until + round_to_whole * w
                                                                : until * data.per_unit + round_to_whole);
        const Vec<float> h = t - centre[k];
        Vec<float> sum = c[degree][k];
#pragma GCC unroll 16
        for (int power = degree - 1; power >= 0; --power) sum = sum * h + c[power][k];
        return sum;
    }

  private:
    Table centre, c[degree + 1];
};

}  // namespace loopnest::LOOPNEST_ISA
#endif
