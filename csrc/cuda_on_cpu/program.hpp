// A program that launches what its standard input says, for sanitizers, which must be loaded when a process starts:
//
//     limit 20                                      seconds, after which it reports where the threads are, and ends
//     downwards                                     a block's last thread is the first to run
//     array float 1000                              this many elements: random numbers in -1 … 1; integers are 0
//     launch tiled<float> 2 3 1  16 16 1  0 5       kernel, grid, block, bytes of shared memory, how many parameters
//     p 0                                           a pointer: the number of its array
//     m 1 20 50 50 1                                a Matrix<T>: array, rows, cols, row_stride, col_stride
//     v 7                                           a number: its bytes as an integer, the lowest first
//
// Part of on_cpu.cpp.
#pragma once

#include <signal.h>

#include "../cuda/view.hpp"

namespace {

void report_where_threads_are(int) {
    char text[200];
    unsigned reported = 0;
    for (unsigned i = 0; i < in_block && reported < 8; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.state == State::done) continue;
        const bool runs = &fiber == running || fiber.state == State::ready;
        const auto [x, y, z] = fiber.index;
        const int size = snprintf(text, sizeof text, "LOOPNEST hang block %u %u %u thread %u %u %u %s %d\n", block.x,
                                  block.y, block.z, x, y, z, runs ? "runs" : "waits", fiber.line);
        if (write(2, text, size_t(size)) < 0) break;
        reported += runs || reported == 0;
    }
    _exit(3);
}

union Value {
    void* pointer;
    Matrix<void*> matrix;
    unsigned long long bytes = 0;
};

}  // namespace

int main() {
    static void* arrays[64];
    static Value values[64];
    static void* addresses[64];
    char word[512];
    unsigned count = 0, seed = 1;
    int failed = 0;
    while (scanf("%511s", word) == 1) {
        if (!strcmp(word, "limit")) {
            unsigned seconds;
            if (scanf("%u", &seconds) != 1) return 2;
            signal(SIGALRM, report_where_threads_are);
            alarm(seconds);
        } else if (!strcmp(word, "downwards")) {
            upwards_first = false;
        } else if (!strcmp(word, "array")) {
            size_t elements;
            if (count == 64 || scanf("%511s %zu", word, &elements) != 2) return 2;
            const bool is_float = !strcmp(word, "float"), is_double = !strcmp(word, "double");
            const size_t size = elements * (is_double || !strcmp(word, "long") ? 8 : 4);
            void* memory = nullptr;
            // An access far outside of an array must be no race with one to the next array.
            const size_t slack = tsan ? 1 << 16 : 0;
            if (posix_memalign(&memory, 256, size + slack + !size)) return 2;
            memset(memory, 0, size + slack);
            for (size_t i = 0; i < elements && (is_float || is_double); ++i) {
                seed = seed * 1664525u + 1013904223u;
                const double value = double(seed >> 8) / double(1 << 23) - 1;
                is_double ? static_cast<double*>(memory)[i] = value : static_cast<float*>(memory)[i] = float(value);
            }
            fprintf(stderr, "LOOPNEST array %u %p %zu\n", count, memory, size);
            arrays[count++] = memory;
        } else if (!strcmp(word, "launch")) {
            unsigned s[6], parameters;
            size_t shared;
            char kernel[512], why[600];
            const int read = scanf("%511s %u %u %u %u %u %u %zu %u", kernel, s, s + 1, s + 2, s + 3, s + 4, s + 5,
                                   &shared, &parameters);
            if (read != 9 || parameters > 64) return 2;
            for (unsigned n = 0; n < parameters; ++n) {
                Value& value = values[n];
                addresses[n] = &value;
                unsigned array = 0;
                int read = 0;
                if (scanf(" %1s", word) != 1) return 2;
                switch (word[0]) {
                    case 'p': read = scanf("%u", &array), value.pointer = arrays[array % 64]; break;
                    case 'm':
                        read = scanf("%u %d %d %lld %lld", &array, &value.matrix.rows, &value.matrix.cols,
                                     &value.matrix.row_stride, &value.matrix.col_stride) == 5;
                        value.matrix.data = static_cast<void**>(arrays[array % 64]);
                        break;
                    case 'v': read = scanf("%llu", &value.bytes); break;
                }
                if (read != 1) return 2;
            }
            fprintf(stderr, "LOOPNEST launch %s\n", kernel);
            if (loopnest_launch(kernel, s, shared, addresses, 1, why, sizeof why)) {
                fprintf(stderr, "LOOPNEST problem %s\n", why);
                failed = 1;
            }
        }
    }
    fflush(stderr);
    _exit(failed);
}
