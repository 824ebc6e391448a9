// Every kernel of rungs.def, on every ISA level that runs here, held to its operation's contract.
//
//     cmake -S . -B build/tests -DLOOPNEST_PYTHON=OFF -DLOOPNEST_CPP_TESTS=ON && cmake --build build/tests
//     build/tests/kernels_test
//
// It needs no Python, so it also runs in an emulator: scripts/portability.sh runs it on an x86-64 without AVX and on
// aarch64. Sizes straddle the lanes of all levels, inputs have all layouts. It prints a line for each failed case and
// each level, and exits with 1 if any case failed. `kernels_test v4` tests v4 alone, even on a CPU that lacks it;
// `kernels_test levels` only prints which levels run here.

#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include "elementwise.hpp"
#include "limits.hpp"
#include "runtime/threads.hpp"
#include "optimizers.hpp"
#include "products.hpp"
#include "reduced.hpp"
#include "reductions.hpp"
#include "rows.hpp"

namespace loopnest::tests {
namespace {

#define OPERATION(name, Signature)                           \
    [] {                                                     \
        name<float>(rungs_of<Signature##Fn>(#name));         \
        name<double>(rungs_of<Signature##Fn>(#name));        \
    }
#define ELEMENTWISE(name, Signature, arity)                                      \
    [] {                                                                         \
        arity<float>(rungs_of<Signature##Fn>(#name), exact::name<float>);        \
        arity<double>(rungs_of<Signature##Fn>(#name), exact::name<double>);      \
    }

constexpr void (*tests[])() = {
    OPERATION(matmul, Binary),
    [] {
        blocked_with<float>(rungs_of<ByBlocksFn>("matmul"));
        blocked_with<double>(rungs_of<ByBlocksFn>("matmul"));
    },
    [] {
        stack<float>(rungs_of<StackFn>("matmul"));
        stack<double>(rungs_of<StackFn>("matmul"));
    },
    [] {
        prepacked<float>(rungs_of<PrepackedFn>("matmul"), rungs_of<SizeFn>("matmul"));
        prepacked<double>(rungs_of<PrepackedFn>("matmul"), rungs_of<SizeFn>("matmul"));
    },
    [] { reduced(); },
    [] {
        why<float>(rungs_of<WhyFn>("matmul"));
        why<double>(rungs_of<WhyFn>("matmul"));
    },
    OPERATION(dot, Dot),
    OPERATION(sum, Sum),
    ELEMENTWISE(add, Binary, binary),
    OPERATION(transpose, Unary),
    OPERATION(linear, Linear),
    ELEMENTWISE(exp, Unary, unary),
    ELEMENTWISE(relu, Unary, unary),
    ELEMENTWISE(sigmoid, Unary, unary),
    ELEMENTWISE(tanh, Unary, unary),
    OPERATION(softmax, Unary),
    ELEMENTWISE(relu_backward, Binary, binary),
    ELEMENTWISE(sigmoid_backward, Binary, binary),
    ELEMENTWISE(tanh_backward, Binary, binary),
    OPERATION(gelu, Gelu),
    OPERATION(gelu_backward, GeluBackward),
    OPERATION(mse, Mse),
    OPERATION(mse_backward, MseBackward),
    OPERATION(cross_entropy, CrossEntropy),
    OPERATION(cross_entropy_backward, CrossEntropyBackward),
    OPERATION(sgd, Sgd),
    OPERATION(momentum, Momentum),
    OPERATION(rmsprop, Rmsprop),
    OPERATION(adam, Adam),
    OPERATION(mlp_forward, MlpForward),
    OPERATION(mlp_backward, MlpBackward),
    OPERATION(peak, MultiplyAdd),
    OPERATION(read, Read),
    OPERATION(copy, Copy),
    OPERATION(triad, Triad),
};

// Forcing a level succeeds exactly if the CPU has it, and makes it active. Returns the number of levels that differ.
int wrong_dispatches() {
    int wrong = 0;
    const std::string usual = active_isa().name;
    for (const IsaLevel& level : isa_levels()) {
        bool refused = false;
        try {
            set_isa(level.name);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        if (refused == level.supported() || (!refused && active_isa().name != std::string(level.name))) {
            ++wrong;
            std::printf("set_isa(\"%s\") %s\n", level.name, refused ? "is refused" : "has not made it active");
        }
        set_isa(usual);
    }
    return wrong;
}

// Kernels hold no lock of stdio, so this handler may print.
extern "C" void killed_by(int signal) {
    std::printf("%s in %s %s.%s, %s, %s\n", signal == SIGILL ? "illegal instruction" : "memory access violation",
                running.level, running.operation, running.rung, running.dtype, running.what.c_str());
    std::fflush(stdout);
    std::_Exit(128 + signal);
}

int test(int count, char** chosen) {
    const bool only_levels = count == 1 && std::string(chosen[0]) == "levels";
    std::string all, here;
    for (const IsaLevel& level : isa_levels()) {
        all += text(" ", level.name);
        if (level.supported()) here += text(" ", level.name);
        bool tested = count == 0 && level.supported();
        for (int i = 0; i < count; ++i) tested |= chosen[i] == std::string(level.name);
        if (tested) tallies.push_back({&level});
    }
    std::printf("levels:%s; run here:%s; active: %s\n", all.c_str(), here.c_str(), active_isa().name);
    if (only_levels) return 0;
    if (tallies.size() < std::size_t(count)) throw std::invalid_argument("expected names of levels");

    set_num_threads(3);  // matters only to the parallel rungs
    long wrong = wrong_dispatches();
    for (int signal : {SIGILL, SIGSEGV, SIGBUS}) std::signal(signal, killed_by);
    for (const auto test : tests) test();
    for (std::size_t line = 0; line < tested_lines.size(); ++line)
        if (!tested_lines[line]) {
            const Rung& rung = (*isa_levels().front().kernels)[line];
            ++wrong;
            std::printf("%s %s has no test\n", rung.operation, rung.variant);
        }
    for (const Tally& tally : tallies) {
        wrong += tally.wrong;
        std::printf("%s: %ld calls, %ld wrong\n", tally.level->name, tally.calls, tally.wrong);
    }
    return wrong ? 1 : 0;
}

}  // namespace
}  // namespace loopnest::tests

int main(int count, char** arguments) {
    try {
        return loopnest::tests::test(count - 1, arguments + 1);
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "%s\n", wrong.what());
        return 2;
    }
}
