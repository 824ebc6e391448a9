// The pool, and the rungs that share their work through it, in a program that ThreadSanitizer watches.
//
//     scripts/sanitize.sh threads
//
// It needs no Python, whose own threads the sanitizer does not know. Several callers work at once: some get the pool,
// the others work alone; threads are set, and a runtime like OpenMP's is lent and taken away, in between. It prints a
// line for each thing that is wrong, and the sanitizer one for each race; the exit code is then not 0.

#include <atomic>
#include <cmath>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "activations/parallel.hpp"
#include "gelu/parallel.hpp"
#include "linalg/linear.hpp"
#include "linalg/parallel.hpp"
#include "losses/parallel.hpp"
#include "matmul/parallel.hpp"
#include "matmul/stack.hpp"
#include "mlp/fused.hpp"
#include "optimizers/parallel.hpp"

namespace loopnest::LOOPNEST_ISA {
namespace {

constexpr index callers = 3, calls = 30;

std::atomic<int> wrong{0};

void expect(bool right, const char* what) {
    if (right) return;
    ++wrong;
    std::printf("wrong: %s\n", what);
}

// work(0), work(1), … each in a thread of its own, all at once.
template <class Work>
void at_once(index count, Work work) {
    std::vector<std::thread> threads;
    for (index n = 0; n < count; ++n) threads.emplace_back(work, n);
    for (std::thread& thread : threads) thread.join();
}

// --- the pool

void each_piece_once() {
    at_once(callers, [](index) {
        for (index call = 0; call < 10 * calls; ++call) {
            std::vector<int> done(std::size_t(call % 40));  // plain memory: the caller reads what helpers wrote
            share(index(done.size()), [&](index piece) { ++done[std::size_t(piece)]; });
            for (const int times : done) expect(times == 1, "a piece is not done once");
        }
    });
}

void an_exception_comes_back() {
    for (index call = 0; call < calls; ++call) {
        std::string said;
        try {
            share(200, [](index piece) {
                if (piece % 3 == 0) throw std::runtime_error("piece");
            });
        } catch (const std::runtime_error& error) {
            said = error.what();
        }
        expect(said == "piece", "a piece's exception is not thrown again");
    }
}

// As libgomp's functions: some threads run the function, each with its number.
thread_local int number_in_team = 0;
void team(void (*function)(void*), void* context, unsigned threads, unsigned) {
    at_once(index(threads), [=](index n) {
        number_in_team = int(n);
        function(context);
    });
}
const OpenMP lent = {team, [] { return 2; }, [] { return number_in_team; }};

void threads_and_runtimes_change_between_calls() {
    at_once(callers, [](index caller) {
        for (index call = 0; call < calls; ++call) {
            if (caller == 0) set_num_threads(2 + call % 3);
            if (caller == 1 && call % 4 == 0) use_openmp(call % 8 ? lent : OpenMP{});
            std::atomic<index> sum{0};
            share(10, [&](index piece) { sum += piece; });
            expect(sum == 45, "pieces are missing");
        }
    });
    use_openmp({});
    set_num_threads(3);
}

// --- the rungs

// An array of a rung, filled anew for each caller.
struct Array {
    std::vector<float> numbers;
    index rows, cols;

    Array(index rows, index cols) : numbers(std::size_t(rows * cols)), rows(rows), cols(cols) {
        unsigned state = unsigned(rows * 31 + cols);
        for (float& x : numbers) x = float(int((state = state * 1664525u + 1013904223u) >> 16) % 256) / 128 - 1;
    }
    operator Matrix<float>() { return {numbers.data(), rows, cols, cols, 1}; }
    operator Matrix<const float>() { return Matrix<float>(*this); }
    operator Vector<float>() { return {numbers.data(), cols, 1}; }
    operator Vector<const float>() { return {numbers.data(), cols, 1}; }
    operator Stack<float>() { return {numbers.data(), rows, 48, cols / 48, cols, cols / 48, 1}; }
    operator Stack<const float>() { return {numbers.data(), rows, 48, cols / 48, cols, cols / 48, 1}; }
};

// call(first, …, last) is a rung's; the arrays are made anew for each call. The last one is the result.
template <class Call, class... Arrays>
void rung(const char* name, Call call, const Arrays&... arrays) {
    const auto result = [&](auto&... copies) {
        call(copies...);
        return std::get<sizeof...(copies) - 1>(std::tie(copies...)).numbers;
    };
    const auto once = [&] { return std::apply([&](auto... copies) { return result(copies...); }, std::tuple(arrays...)); };
    std::vector<std::vector<float>> results(callers);
    set_num_threads(1);
    const std::vector<float> alone = once();
    set_num_threads(3);
    at_once(callers, [&](index caller) {
        for (int i = 0; i < 2; ++i) results[std::size_t(caller)] = once();
    });
    for (const std::vector<float>& got : results)
        for (std::size_t i = 0; i < got.size(); ++i)
            if (!(std::abs(got[i] - alone[i]) <= 1e-3f * (1 + std::abs(alone[i])))) return expect(false, name);
}

void rungs() {
    const Array many(600, 700), other(600, 700), scalar(1, 1), row(1, 420000), a(90, 300), b(300, 200), c(90, 200);
    rung("matmul", matmul::parallel<float>, a, b, c);
    rung("matmul, long sums", matmul::parallel<float>, Array(8, 60000), Array(60000, 8), Array(8, 8));
    rung("matmul, a stack", matmul::stack<float>, Array(40, 48 * 48), Array(40, 48 * 48), Array(40, 48 * 48));
    rung("linear", linear::fused<float>, a, b, Array(1, 200), c);
    rung("dot", [](Vector<const float> x, Vector<const float> y, Matrix<float> sum) {
        dot::parallel(x, y, sum.data);
    }, row, row, scalar);
    rung("sum", [](Matrix<const float> x, Matrix<float> total) { sum::parallel(x, total.data); }, many, scalar);
    rung("add", add::parallel<float>, many, other, many);
    rung("transpose", transpose::parallel<float>, many, Array(700, 600));
    rung("relu", relu::parallel<float>, many, many);
    rung("sigmoid", sigmoid::parallel<float>, many, many);
    rung("tanh_backward", tanh_backward::parallel<float>, many, other, many);
    rung("softmax", softmax::parallel<float>, many, many);
    rung("gelu", [](Matrix<const float> x, Matrix<float> y) { gelu::parallel(x, y, true); }, many, many);
    rung("gelu_backward", [](Matrix<const float> x, Matrix<const float> dy, Matrix<float> dx) {
        gelu_backward::parallel(x, dy, dx, false);
    }, many, other, many);
    rung("mse", [](Matrix<const float> y, Matrix<const float> t, Matrix<float> loss) {
        mse::parallel(y, t, loss.data);
    }, many, other, scalar);
    rung("mse_backward", [](Matrix<const float> y, Matrix<const float> t, Matrix<float> dy) {
        mse_backward::parallel(y, t, dy, y.rows * y.cols);
    }, many, other, many);
    const std::vector<std::int64_t> numbers(600, 5);
    const Vector<const std::int64_t> labels{numbers.data(), 600, 1};
    rung("cross_entropy", [&](Matrix<const float> logits, Matrix<float> loss) {
        cross_entropy::parallel(logits, labels, loss.data);
    }, many, scalar);
    rung("cross_entropy_backward", [&](Matrix<const float> logits, Matrix<float> dlogits) {
        cross_entropy_backward::parallel(logits, labels, dlogits);
    }, many, many);
    rung("adam", [](Matrix<const float> grad, Matrix<float> m, Matrix<float> v, Matrix<float> param) {
        for (index i = 0; i < v.rows * v.cols; ++i) v.data[i] = std::abs(v.data[i]);
        adam::parallel(param, grad, m, v, 0.1, 0.9, 0.999, 1e-8, 0.1, 0.001, false);
    }, many, other, many, many);
    const Array x(64, 96), w1(96, 260), b1(1, 260), w2(260, 96), b2(1, 96), hidden(64, 260);
    rung("mlp_forward", [](auto x, auto w1, auto b1, auto w2, auto b2, auto z, auto h, Matrix<float> y) {
        mlp_forward::fused<float>(x, w1, b1, w2, b2, z, h, y, true);
    }, x, w1, b1, w2, b2, hidden, hidden, x);
    rung("mlp_backward", [](auto dy, auto x, auto w1, auto w2, auto z, auto h, auto dw1, auto db1, auto dw2, auto db2,
                            Matrix<float> dx) {
        mlp_backward::fused<float>(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, true);
    }, x, x, w1, w2, hidden, hidden, w1, b1, w2, b2, x);
}

}  // namespace

int test() {
    set_num_threads(3);
    each_piece_once();
    an_exception_comes_back();
    threads_and_runtimes_change_between_calls();
    rungs();
    std::printf("%d wrong\n", wrong.load());
    return wrong != 0;
}

}  // namespace loopnest::LOOPNEST_ISA

int main() { return loopnest::LOOPNEST_ISA::test(); }
