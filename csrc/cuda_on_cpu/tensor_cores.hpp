// The instructions of cuda/tensor_cores.hpp in plain C++. Fragments lie in the threads as PTX documents them, and
// threads see each other's registers only by an exchange of the whole warp, so that a wrong index gives a wrong result
// here, too.
//
// Sums are rounded as Fasi, Higham, Mikaitis and Pranesh found it in tensor cores (Numerical Behavior of NVIDIA Tensor
// Cores, 2021): the products of an instruction are added exactly, or nearly so, and the sum is cut off, not rounded.
#pragma once

#include "on_cpu.hpp"

namespace loopnest::on_cpu {

constexpr unsigned all_lanes = ~0u;

inline float widened(bfloat16 x) { return __builtin_bit_cast(float, unsigned(x.bits) << 16); }
inline float widened(float16 x) {  // 2^112 adds the difference of the exponents' biases, also to subnormal numbers
    const unsigned sign = unsigned(x.bits & 0x8000) << 16, rest = unsigned(x.bits & 0x7FFF) << 13;
    if (rest >= 0x7C00u << 13) return __builtin_bit_cast(float, sign | rest | 0x7F800000u);
    return __builtin_bit_cast(float, __builtin_bit_cast(unsigned, __builtin_bit_cast(float, rest) * 0x1p112f) | sign);
}

template <class T>
float element(unsigned pair, int which) { return widened(T{static_cast<unsigned short>(pair >> 16 * which)}); }

inline float cut_off(double sum) {
    const float nearest = float(sum);
    if (!(fabs(double(nearest)) > fabs(sum)) || isinf(nearest)) return nearest;
    return __builtin_bit_cast(float, __builtin_bit_cast(unsigned, nearest) - 1);
}

// The GPU ends a launch with such an address, too.
inline void check_aligned(const void* place, int bytes, int line) {
    if (reinterpret_cast<uintptr_t>(place) % bytes) trap(line);
}

struct Pairs {
    unsigned of_a[4], of_b[2];
};

// One mma: the sums are of row g of a and column t of b, …, whose elements other lanes hold.
template <class T>
void multiply_add(float* sums, const Pairs& mine, int line) {
    const Seen seen = exchange(all_lanes, &mine, sizeof mine, line);
    const int g = int(lane()) / 4, t = 2 * (int(lane()) % 4);
    for (int n = 0; n < 4; ++n) {
        const int row = n / 2, column = t + n % 2;  // of a's two and b's eight
        for (int part = 0; part < 2; ++part) {  // A100 adds 8 products at a time
            double sum = sums[n];
            for (int quarter = 0; quarter < 4; ++quarter) {
                const unsigned a = value_of<Pairs>(seen.value[4 * g + quarter]).of_a[row + 2 * part];
                const unsigned b = value_of<Pairs>(seen.value[4 * column + quarter]).of_b[part];
                for (int p = 0; p < 2; ++p) sum += double(element<T>(a, p)) * element<T>(b, p);
            }
            sums[n] = cut_off(sum);
        }
    }
}

// Each lane gives a row of 16 bytes. `pick` says which 16-bit number of which lane's row is a lane's half of matrix n.
template <class Pick>
void exchange_rows(unsigned (&pairs)[4], const void* row, Pick pick, int line) {
    check_aligned(row, 16, line);
    struct Row {
        unsigned short number[8];
    };
    const Row mine = *static_cast<const Row*>(row);
    const Seen seen = exchange(all_lanes, &mine, sizeof mine, line);
    for (int n = 0; n < 4; ++n) {
        pairs[n] = 0;
        for (int half = 0; half < 2; ++half) {
            const auto [from, column] = pick(int(lane()) / 4, 2 * (int(lane()) % 4) + half);
            pairs[n] |= unsigned(value_of<Row>(seen.value[8 * n + from]).number[column]) << 16 * half;
        }
    }
}

// wmma's fragments are here those of one mma for a, and of two for b and c. number: 0 to 7, of a thread's elements.
struct Place {
    int row, column;
};
inline Place of_a_or_c(int number) {
    return {int(lane()) / 4 + number / 2 % 2 * 8, 2 * (int(lane()) % 4) + number % 2 + number / 4 * 8};
}
inline Place of_b(int number) {
    return {2 * (int(lane()) % 4) + number % 2 + number / 2 % 2 * 8, int(lane()) / 4 + number / 4 * 8};
}

template <class T>
void load(Factor<T>& factor, const T* from, int stride, Place (*place)(int), int line) {
    check_aligned(from, 32, line);
    check_aligned(from + stride, 16, line);
    for (int n = 0; n < 8; ++n) {
        const auto [row, column] = place(n);
        unsigned& pair = factor.pairs[n / 2];
        pair = (n % 2 ? pair : 0) | unsigned(from[row * stride + column].bits) << n % 2 * 16;
    }
}

}  // namespace loopnest::on_cpu

inline void round_to(float& y, float x) { y = x; }
inline void round_to(bfloat16& y, float x) {
    const unsigned bits = __builtin_bit_cast(unsigned, x);
    y.bits = x != x ? 0x7FFF : static_cast<unsigned short>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
inline void round_to(float16& y, float x) {
    const unsigned bits = __builtin_bit_cast(unsigned, x), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    // Below 2^-14 the last bit is worth 2^-24 always: adding 0.5 rounds to it, and its bits are the result's.
    const unsigned small = __builtin_bit_cast(unsigned, __builtin_bit_cast(float, size) + 0.5f) - 0x3F000000;
    const unsigned normal = (size - (112u << 23) + 0xFFF + (size >> 13 & 1)) >> 13;
    const unsigned rounded = size < 113u << 23 ? small : size >= 0x477FF000 ? 0x7C00 : normal;
    y.bits = static_cast<unsigned short>(x != x ? 0x7FFF : sign | rounded);
}

template <class T>
void load_a(Factor<T>& factor, const T* from, int stride, LOOPNEST_LINE) {
    loopnest::on_cpu::load(factor, from, stride, loopnest::on_cpu::of_a_or_c, line);
}
template <class T>
void load_b(Factor<T>& factor, const T* from, int stride, LOOPNEST_LINE) {
    loopnest::on_cpu::load(factor, from, stride, loopnest::on_cpu::of_b, line);
}
template <class T>
void multiply_add(Square& c, const Factor<T>& a, const Factor<T>& b, LOOPNEST_LINE) {
    for (int half = 0; half < 2; ++half) {
        const loopnest::on_cpu::Pairs pairs{{a.pairs[0], a.pairs[1], a.pairs[2], a.pairs[3]},
                                            {b.pairs[2 * half], b.pairs[2 * half + 1]}};
        loopnest::on_cpu::multiply_add<T>(&c.sums[4 * half], pairs, line);
    }
}
inline void store(const Square& c, float* to, int stride, LOOPNEST_LINE) {
    loopnest::on_cpu::check_aligned(to, 32, line);
    loopnest::on_cpu::check_aligned(to + stride, 16, line);
    for (int n = 0; n < 8; ++n) {
        const auto [row, column] = loopnest::on_cpu::of_a_or_c(n);
        to[row * stride + column] = c.sums[n];
    }
}

template <class T>
void multiply_add(CFragment& c, const AFragment& a, const BFragment& b, T, LOOPNEST_LINE) {
    const loopnest::on_cpu::Pairs pairs{{a.pairs[0], a.pairs[1], a.pairs[2], a.pairs[3]}, {b.pairs[0], b.pairs[1]}};
    loopnest::on_cpu::multiply_add<T>(c.sums, pairs, line);
}

inline void ldmatrix(unsigned (&pairs)[4], const void* row, LOOPNEST_LINE) {
    loopnest::on_cpu::exchange_rows(pairs, row, [](int g, int t) { return loopnest::on_cpu::Place{g, t}; }, line);
}
inline void ldmatrix_transposed(unsigned (&pairs)[4], const void* row, LOOPNEST_LINE) {
    loopnest::on_cpu::exchange_rows(pairs, row, [](int g, int t) { return loopnest::on_cpu::Place{t, g}; }, line);
}

// The bytes arrive when the thread waits for them. Until then they are as unwritten, so that a missing wait shows.
inline void cp_async(void* to, const void* from, int filled, LOOPNEST_LINE) {
    loopnest::on_cpu::check_aligned(to, 16, line);
    loopnest::on_cpu::check_aligned(from, 16, line);
    auto* const bytes = static_cast<unsigned char*>(to);
    for (int i = 0; i < 16; ++i) bytes[i] = 0xFF;
    loopnest::on_cpu::start_copy({bytes, static_cast<const unsigned char*>(from), filled, 0});
}
inline void cp_async_commit() { loopnest::on_cpu::commit_copies(); }
template <int groups>
void cp_async_wait() {
    loopnest::on_cpu::Copy copy;
    while (loopnest::on_cpu::end_copy(groups, copy))
        for (int i = 0; i < 16; ++i) copy.to[i] = i < copy.filled ? copy.from[i] : 0;
}
