// Units: what the tiles of reduced precision multiply. A unit is 32 bits, and holds 1, 2 or 4 elements that follow each
// other along p. A vector of units times a vector of units adds to a vector of 32-bit sums.
//
//     Arithmetic            elements                a unit holds    a step is
//     Floats<T>             bfloat16, float16       1, as a float   a multiply-add
//     PairsOfShorts         int8                    2, as int16     vpmaddwd and an addition
//     PairsOfBfloat16       bfloat16                2               vdpbf16ps
//     QuadsOfBytes          int8                    4               vpdpbusd
//
// An arithmetic has the type of its Element, the size of a `group`, step(), and three ways to make units: `across`, a
// vector of units for neighbouring columns, from `group` rows; `along`, a vector of units that follow each other along
// p, from contiguous elements; and `one` from any elements. Missing elements are zeros.
#pragma once

#include "simd/convert.hpp"

namespace loopnest::LOOPNEST_ISA::matmul {

template <class T>
struct Floats {
    using Element = T;
    static constexpr int group = 1;

    static LOOPNEST_INLINE Vec<float> step(Vec<float> sum, Words a, Words b) {
        return float_of(a) * float_of(b) + sum;
    }
    static LOOPNEST_INLINE Words along(const T* from) { return words_of(to_float(from)); }
    static LOOPNEST_INLINE Words across(const T* from, index) { return along(from); }
    static LOOPNEST_INLINE std::uint32_t one(const T* from, index, index) {
        T filled[lanes<float>] = {*from};
        return along(filled)[0];
    }
};

// The bits of `count` elements one above the other; a word has room for `group` of them.
template <int group, class T>
LOOPNEST_INLINE std::uint32_t one_of_bits(const T* from, index stride, index count) {
    std::uint32_t unit = 0;
    for (index g = 0; g < count; ++g) {
        std::uint32_t bits = 0;
        __builtin_memcpy(&bits, from + g * stride, sizeof(T));
        unit |= bits << (32 / group * g);
    }
    return unit;
}

LOOPNEST_INLINE Vec<float> upper_float(Words pair) { return float_of(pair & 0xffff0000u); }
LOOPNEST_INLINE Vec<float> lower_float(Words pair) { return float_of(pair << 16); }

struct PairsOfBfloat16 {
    using Element = bfloat16;
    static constexpr int group = 2;

    // The instruction is written out: a compiler takes it from a newer processor's flags alone, and level v4 has not
    // got these. Levels without 512-bit vectors compute the same in two multiply-adds, for tests.
    static LOOPNEST_INLINE Vec<float> step(Vec<float> sum, Words a, Words b) {
#if defined(__AVX512F__)
        asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
#else
        return upper_float(a) * upper_float(b) + (lower_float(a) * lower_float(b) + sum);
#endif
    }
    static LOOPNEST_INLINE Words along(const bfloat16* from) { return load_as<Words>(from); }
    static LOOPNEST_INLINE Words across(const bfloat16* from, index row_stride) {
        return __builtin_convertvector(load_as<Halves>(from), Words) |
               __builtin_convertvector(load_as<Halves>(from + row_stride), Words) << 16;
    }
    static LOOPNEST_INLINE std::uint32_t one(const bfloat16* from, index stride, index count) {
        return one_of_bits<group>(from, stride, count);
    }
};

using Integers = Vec<std::int32_t>;

struct PairsOfShorts {
    using Element = std::int8_t;
    static constexpr int group = 2;
    typedef std::int8_t TwiceBytes __attribute__((vector_size(vector_bytes / 2)));
    typedef std::int16_t Shorts __attribute__((vector_size(vector_bytes)));

    static LOOPNEST_INLINE Integers step(Integers sum, Words a, Words b) {
#if defined(__AVX512F__)
        return sum + Integers(_mm512_madd_epi16(__m512i(a), __m512i(b)));
#elif defined(__AVX2__)
        return sum + Integers(_mm256_madd_epi16(__m256i(a), __m256i(b)));
#elif defined(__x86_64__)
        return sum + Integers(_mm_madd_epi16(__m128i(a), __m128i(b)));
#else
        return sum + (Integers(a << 16) >> 16) * (Integers(b << 16) >> 16) + (Integers(a) >> 16) * (Integers(b) >> 16);
#endif
    }
    static LOOPNEST_INLINE Words along(const std::int8_t* from) {
        return __builtin_bit_cast(Words, __builtin_convertvector(load_as<TwiceBytes>(from), Shorts));
    }
    static LOOPNEST_INLINE Words across(const std::int8_t* from, index row_stride) {
        const Integers upper = __builtin_convertvector(load_as<Bytes>(from + row_stride), Integers);
        return (Words(__builtin_convertvector(load_as<Bytes>(from), Integers)) & 0xffffu) | Words(upper) << 16;
    }
    static LOOPNEST_INLINE std::uint32_t one(const std::int8_t* from, index stride, index count) {
        const std::uint32_t upper = count > 1 ? std::uint32_t(from[stride]) << 16 : 0;
        return (std::uint32_t(*from) & 0xffffu) | upper;
    }
};

struct QuadsOfBytes {
    using Element = std::int8_t;
    static constexpr int group = 4;

    // vpdpbusd multiplies bytes without sign by bytes with one. So a's elements are stored as a + 128, which flips
    // their highest bit, and the sums begin at -128 times the sum of b's column. Sums of 32 bits wrap.
    static constexpr std::uint32_t flipped = 0x80808080u;

    static LOOPNEST_INLINE Integers step(Integers sum, Words a, Words b) {
#if defined(__AVX512F__)
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
#else
        for (int up = 0; up < 32; up += 8) sum += Integers(a >> up & 255u) * (Integers(b << (24 - up)) >> 24);
        return sum;
#endif
    }
    static LOOPNEST_INLINE Words along(const std::int8_t* from) { return load_as<Words>(from); }
    static LOOPNEST_INLINE Words across(const std::int8_t* from, index row_stride) {
        Words units = {};
        for (int g = 0; g < group; ++g) {
            typedef std::uint8_t Unsigned __attribute__((vector_size(vector_bytes / 4)));
            units |= __builtin_convertvector(load_as<Unsigned>(from + g * row_stride), Words) << 8 * g;
        }
        return units;
    }
    static LOOPNEST_INLINE std::uint32_t one(const std::int8_t* from, index stride, index count) {
        return one_of_bits<group>(from, stride, count);
    }
};

template <class A>
inline constexpr std::uint32_t flipped_bits = 0;
template <>
inline constexpr std::uint32_t flipped_bits<QuadsOfBytes> = QuadsOfBytes::flipped;

}  // namespace loopnest::LOOPNEST_ISA::matmul
