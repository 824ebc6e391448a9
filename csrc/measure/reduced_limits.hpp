// The limits of reduced precision: each instruction with all operands in registers, as multiply_add does it for floats.
//
// They have multiply_add's parameters, for any T, and return its kind of figure: two operations for each multiply-add.
// Where an instruction does not exist the same is computed in another way, for tests; no limit is measured there.
#pragma once

#include "matmul/kernel/by_tiles.hpp"
#include "measure/limits.hpp"

namespace loopnest::LOOPNEST_ISA::peak {

inline void set(bfloat16& x, float value) { x.bits = std::uint16_t(__builtin_bit_cast(std::uint32_t, value) >> 16); }
inline void set(std::int8_t& x, float value) { x = std::int8_t(value); }

// A vector of units whose elements are all `value`.
template <class A>
Words units_of(float value) {
    typename A::Element elements[lanes<float> * A::group];
    for (auto& x : elements) set(x, value);
    return A::along(elements);
}

template <class A, class T>
index units(Vector<T> values, index rounds) {
    using S = Sum<typename A::Element>;
    const Words x = units_of<A>(float(values[0])), y = units_of<A>(float(values[1]));
    Vec<S> chain[chains] = {};
    for (index round = 0; round < rounds; ++round)
#pragma GCC unroll 24
        for (int n = 0; n < chains; ++n) chain[n] = A::step(chain[n], x, y);
    for (int n = 1; n < chains; ++n) chain[0] += chain[n];
    values[2] = T(sum_of_lanes<S>(chain[0]));
    return 2 * index(chains) * lanes<S> * A::group * rounds;
}

template <class T>
index dot_pairs(Vector<T> values, index rounds) { return units<matmul::PairsOfBfloat16>(values, rounds); }
template <class T>
index dot_quads(Vector<T> values, index rounds) { return units<matmul::QuadsOfBytes>(values, rounds); }

// vfmadd213ph, which multiplies and adds float16 in float16 (AVX512_FP16): chain = chain * x + y.
template <class T>
index halves(Vector<T> values, index rounds) {
#if defined(__AVX512F__) && (defined(__clang__) || __GNUC__ >= 12)  // whose assemblers know it
    const auto all = [](float value) {
        float16 half[2][lanes<float>];
        for (auto& part : half) round_to(part, broadcast(value));
        return load_as<Words>(half[0]);
    };
    const Words x = all(float(values[0])), y = all(float(values[1]));
    Words chain[chains] = {};
    for (index round = 0; round < rounds; ++round)
#pragma GCC unroll 24
        for (int n = 0; n < chains; ++n) asm("vfmadd213ph %2, %1, %0" : "+v"(chain[n]) : "v"(x), "v"(y));
    Vec<float> sum = {};
    for (const Words& one : chain) {
        float16 half[2][lanes<float>];
        __builtin_memcpy(half, &one, sizeof one);
        sum += to_float(half[0]) + to_float(half[1]);
    }
    values[2] = T(sum_of_lanes<float>(sum));
    return 2 * index(chains) * 2 * lanes<float> * rounds;
#else
    return multiply_add(values, rounds);
#endif
}

// Four tiles of sums, as the rungs have them.
template <class Tiles, class Element, class T>
index tiles(Vector<T> values, index rounds) {
    using A = matmul::TileUnits<Element>;
    constexpr index of_tile = tile_size * tile_size;
    std::uint32_t x[of_tile], y[of_tile];
    Sum<Element> sums[of_tile];
    for (index n = 0; n < of_tile; ++n) {
        x[n] = units_of<A>(float(values[0]))[0];
        y[n] = units_of<A>(float(values[1]))[0];
    }
    Tiles all;
    all.template zero<0>(), all.template zero<1>(), all.template zero<2>(), all.template zero<3>();
    all.template load<4>(x, tile_size), all.template load<5>(x, tile_size);
    all.template load<6>(y, tile_size), all.template load<7>(y, tile_size);
    for (index round = 0; round < rounds; ++round) {
        all.template multiply<0, 4, 6>(), all.template multiply<1, 4, 7>();
        all.template multiply<2, 5, 6>(), all.template multiply<3, 5, 7>();
    }
    all.template store<0>(sums, tile_size);
    values[2] = 0;
    for (const auto sum : sums) values[2] += T(sum);
    values[2] *= 4;  // all four are equal
    return 4 * 2 * of_tile * tile_size * A::group * rounds;
}

template <class Element, class T>
index tiles_here(Vector<T> values, index rounds) {
#if defined(__AVX512F__)
    if (!why_no_amx()) return tiles<Amx<Element>, Element>(values, rounds);
#endif
    return tiles<EmulatedAmx<Element>, Element>(values, rounds);
}
template <class T>
index tiles_of_pairs(Vector<T> values, index rounds) { return tiles_here<bfloat16>(values, rounds); }
template <class T>
index tiles_of_quads(Vector<T> values, index rounds) { return tiles_here<std::int8_t>(values, rounds); }

}  // namespace loopnest::LOOPNEST_ISA::peak
