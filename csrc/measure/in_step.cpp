#include "measure/in_step.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace loopnest {
namespace {

using Clock = std::chrono::steady_clock;

struct Times {
    Clock::time_point start, end;
};

// Threads wait here for each other: first each yields its processor, since the wait may be long; then all are awake and
// spin, so that they leave within a fraction of a microsecond of each other.
class Start {
public:
    explicit Start(index threads) : coming_(threads), awake_(threads) {}

    // False if it was cancelled.
    bool wait() {
        for (coming_.fetch_sub(1); coming_.load(std::memory_order_acquire) > 0;) {
            if (cancelled_) return false;
            std::this_thread::yield();
        }
        awake_.fetch_sub(1);
        for (int look = 0; awake_.load(std::memory_order_acquire) > 0; ++look)
            if (look > looks) std::this_thread::yield();  // more threads than processors
        return true;
    }
    void cancel() { cancelled_ = true; }

private:
    static constexpr int looks = 1 << 24;  // about 10 ms
    std::atomic<index> coming_, awake_;
    std::atomic<bool> cancelled_{false};
};

}  // namespace

bool bind_as_thread([[maybe_unused]] index n) {
#ifdef __linux__
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
    index skip = n % larger(CPU_COUNT(&allowed), 1);
    for (int processor = 0; processor < CPU_SETSIZE; ++processor)
        if (CPU_ISSET(processor, &allowed) && skip-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(processor, &one);
            return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
        }
#endif
    return false;
}

double seconds_in_step(index threads, const Part& warm_up, const Part& work) {
    Start start(threads);
    std::vector<Times> times(std::size_t(threads), Times{});
    std::vector<std::thread> others;
    const auto run = [&](index n) {
        bind_as_thread(n);  // a new thread may use the processors of the one that makes it
        warm_up(n);
        if (!start.wait()) return;
        const Clock::time_point begun = Clock::now();
        work(n);
        times[std::size_t(n)] = {begun, Clock::now()};
    };
    try {
        for (index n = 0; n < threads; ++n) others.emplace_back(run, n);
    } catch (...) {  // the system has no more threads: release the waiting ones
        start.cancel();
        for (std::thread& other : others) other.join();
        throw;
    }
    for (std::thread& other : others) other.join();
    const auto first = std::ranges::min(times, {}, &Times::start), last = std::ranges::max(times, {}, &Times::end);
    return std::chrono::duration<double>(last.end - first.start).count();
}

}  // namespace loopnest
