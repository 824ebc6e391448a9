// The tile registers of AMX: eight, each of 16 rows of 64 bytes, which hold 16 units of 32 bits.
//
//     multiply<c, a, b>()    tile c += tile a times tile b: 16 x 16 sums, over 16 units
//
// b's rows are units of neighbouring columns, and a's rows units that follow each other along p: by_units.hpp packs so.
// Amx has the instructions, in assembly, since a compiler takes them from a newer processor's flags alone. EmulatedAmx
// does the same in plain C++ where there are none, as Intel's manual defines it (tdpbf16ps, tdpbssd): the even and the
// odd products of a tile are summed apart, and added to c at the end. It is for tests, and slow.
#pragma once

#include <cstring>

#include "simd/convert.hpp"

namespace loopnest::LOOPNEST_ISA {

inline constexpr index tile_size = 16;  // rows of a tile, and units of a row

#if defined(__AVX512F__)
template <class T>
struct Amx {
    struct alignas(64) Shapes {  // of the eight tiles, as ldtilecfg takes them
        std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
        std::uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };

    // Shapes are a thread's own. Released tiles cost the system nothing when it changes threads.
    Amx() {
        const Shapes shapes;
        asm volatile("ldtilecfg %0" ::"m"(shapes));
    }
    ~Amx() { asm volatile("tilerelease"); }
    Amx(const Amx&) = delete;

    template <int tile>
    LOOPNEST_INLINE void zero() { asm volatile("tilezero %%tmm%c0" ::"i"(tile)); }
    template <int tile>
    LOOPNEST_INLINE void load(const std::uint32_t* from, index width) {
        asm volatile("tileloadd (%0,%1,4), %%tmm%c2" ::"r"(from), "r"(width), "i"(tile) : "memory");
    }
    template <int tile>
    LOOPNEST_INLINE void store(Sum<T>* to, index width) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,4)" ::"r"(to), "r"(width), "i"(tile) : "memory");
    }
    template <int c, int a, int b>
    LOOPNEST_INLINE void multiply() {
        if constexpr (std::is_same_v<T, bfloat16>)
            asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b));
        else
            asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b));
    }
};
#endif

template <class T>
struct EmulatedAmx {
    std::uint32_t tiles[8][tile_size][tile_size];

    template <int tile>
    void zero() { std::memset(tiles[tile], 0, sizeof tiles[tile]); }
    template <int tile>
    void load(const std::uint32_t* from, index width) {
        for (index i = 0; i < tile_size; ++i) std::memcpy(tiles[tile][i], from + i * width, sizeof tiles[tile][i]);
    }
    template <int tile>
    void store(Sum<T>* to, index width) {
        for (index i = 0; i < tile_size; ++i) std::memcpy(to + i * width, tiles[tile][i], sizeof tiles[tile][i]);
    }
    template <int c, int a, int b>
    void multiply() {
        for (index i = 0; i < tile_size; ++i)
            for (index j = 0; j < tile_size; ++j) {
                Sum<T> sum, even = 0, odd = 0;
                for (index q = 0; q < tile_size; ++q) add_products(tiles[a][i][q], tiles[b][q][j], even, odd);
                std::memcpy(&sum, &tiles[c][i][j], sizeof sum);
                sum = sum + (even + odd);
                std::memcpy(&tiles[c][i][j], &sum, sizeof sum);
            }
    }

private:
    static void add_products(std::uint32_t a, std::uint32_t b, float& even, float& odd) {
        even += flushed(a << 16) * flushed(b << 16);
        odd += flushed(a & 0xffff0000u) * flushed(b & 0xffff0000u);
    }
    static void add_products(std::uint32_t a, std::uint32_t b, std::int32_t& even, std::int32_t&) {
        std::uint32_t sum = std::uint32_t(even);  // which wraps
        for (int up = 0; up < 32; up += 8) sum += std::uint32_t(std::int8_t(a >> up) * std::int8_t(b >> up));
        even = std::int32_t(sum);
    }
    static float flushed(std::uint32_t bits) {  // subnormal numbers are zero
        const std::uint32_t kept = (bits & 0x7f800000u) ? bits : bits & 0x80000000u;
        return __builtin_bit_cast(float, kept);
    }
};

}  // namespace loopnest::LOOPNEST_ISA
