// Arrays for the tests: any layout, in memory that shows when a kernel reads or writes outside of them.
//
// An array has its own pages between two forbidden ones. It ends where its pages end (or begins where they begin, if
// its strides are negative), so a step beyond the last element is a segmentation fault. Inputs are read-only once they
// are filled. After each call the bytes around a result's elements are compared.
//
// KERNELS_TEST_MARGIN=64 leaves 64 bytes between an array and the forbidden page. Emulators need it if they read more
// than the instruction does: QEMU 7.2 loads 16 bytes for a scalar vfmadd of 4, and all 32 of a vmaskmovps.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "view.hpp"

namespace loopnest::tests {

enum class Layout { contiguous, padded, transposed, stepped, negative, repeated_row, repeated_column };

inline constexpr Layout layouts[] = {Layout::contiguous, Layout::padded,       Layout::transposed,     Layout::stepped,
                                     Layout::negative,   Layout::repeated_row, Layout::repeated_column};
inline constexpr Layout layouts_of_results[] = {Layout::contiguous, Layout::padded};
inline constexpr Layout layouts_of_states[] = {Layout::contiguous, Layout::padded, Layout::transposed, Layout::stepped,
                                               Layout::negative};

inline const char* name_of(Layout layout) {
    static constexpr const char* names[] = {"contiguous", "padded",       "transposed",     "stepped",
                                            "negative",   "repeated row", "repeated column"};
    return names[int(layout)];
}

template <class E>
class Array {
  public:
    Matrix<E> matrix;

    Array(index rows, index cols, Layout layout) {
        const index row_strides[] = {cols, cols + 3, 1, 2 * cols + 5, -cols, 0, 1};
        const index col_strides[] = {1, 1, rows, 2, -1, 1, 0};
        const index row_stride = row_strides[int(layout)], col_stride = col_strides[int(layout)];
        const auto span = [](index n, index stride) { return (n - 1) * (stride < 0 ? -stride : stride); };
        const index elements = rows && cols ? span(rows, row_stride) + span(cols, col_stride) + 1 : 0;

        static const char* const margin_wanted = std::getenv("KERNELS_TEST_MARGIN");
        const std::size_t margin = margin_wanted ? std::strtoul(margin_wanted, nullptr, 10) : 0;
        const std::size_t page = std::size_t(sysconf(_SC_PAGESIZE)), bytes = std::size_t(elements) * sizeof(E);
        size_ = (bytes + margin + page) / page * page;
        whole_size_ = size_ + 2 * page;
        whole_ = mmap(nullptr, whole_size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (whole_ == MAP_FAILED) throw std::bad_alloc();
        pages_ = static_cast<char*>(whole_) + page;
        mprotect(pages_, size_, PROT_READ | PROT_WRITE);
        std::memset(pages_, 0xa5, size_);

        E* const lowest = reinterpret_cast<E*>(row_stride < 0 ? pages_ + margin : pages_ + size_ - margin - bytes);
        matrix = {row_stride < 0 ? lowest + (elements ? elements - 1 : 0) : lowest, rows, cols, row_stride, col_stride};
    }
    ~Array() { munmap(whole_, whole_size_); }
    Array(const Array&) = delete;

    Vector<E> vector() const { return matrix.row(0); }

    template <class Make>
    void fill(Make make) {
        for (index i = 0; i < matrix.rows; ++i)
            for (index j = 0; j < matrix.cols; ++j) matrix(i, j) = make(i, j);
    }

    void forbid_writing() { mprotect(pages_, size_, PROT_READ); }

    std::vector<char> bytes() const { return {pages_, pages_ + size_}; }
    bool holds(const std::vector<char>& bytes) const { return std::memcmp(pages_, bytes.data(), size_) == 0; }

  private:
    void* whole_;
    char* pages_;
    std::size_t whole_size_, size_;
};

// The same numbers on every machine: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
inline std::uint64_t random_bits() {
    static std::uint64_t state = 0;
    std::uint64_t bits = state += 0x9e3779b97f4a7c15;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
    return bits ^ bits >> 31;
}

// About normally distributed: twelve numbers from -1/2 to 1/2 have a sum of variance 1.
inline double random_normal() {
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += double(random_bits() >> 11) * 0x1p-53 - 0.5;
    return sum;
}

template <class T>
struct Input : Array<T> {
    Input(index rows, index cols, Layout layout, double scale = 1)
        : Input(rows, cols, layout, [=](index, index) { return T(scale * random_normal()); }) {}

    template <class Make>
        requires std::is_invocable_v<Make, index, index>
    Input(index rows, index cols, Layout layout, Make make) : Array<T>(rows, cols, layout) {
        this->fill(make);
        this->forbid_writing();
    }

    operator Matrix<const T>() const { return this->matrix; }
    Vector<const T> row(index i) const { return Matrix<const T>(*this).row(i); }
    Vector<const T> vector() const { return row(0); }
};

}  // namespace loopnest::tests
