#include "runtime/threads.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#endif

namespace loopnest {
namespace {

// How often a thread looks for work before it sleeps: waking it takes 5 to 50 µs, and a training step's next call comes
// within some 10 µs. 2000 pauses are 20 to 80 µs.
constexpr int looks = 2000;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// How the processor rounds, and whether subnormal numbers are zero; a thread's own. The pieces of one call are computed
// in the caller's modes, so that equal inputs give equal results.
#if defined(__x86_64__) || defined(__i386__)
using Modes = unsigned;
inline Modes modes() { return __builtin_ia32_stmxcsr() & ~0x3Fu; }  // without the flags of what has happened
inline void set_modes(Modes modes) { __builtin_ia32_ldmxcsr(modes); }
#elif defined(__aarch64__)
using Modes = unsigned long;
inline Modes modes() {
    Modes found;
    asm volatile("mrs %0, fpcr" : "=r"(found));
    return found;
}
inline void set_modes(Modes modes) { asm volatile("msr fpcr, %0" ::"r"(modes)); }
#else
using Modes = int;
inline Modes modes() { return 0; }
inline void set_modes(Modes) {}
#endif

// The pieces of one thread: each has its part of all, and takes what others have not begun when its own are done.
struct alignas(64) Range {
    std::atomic<index> next{0};
    index end = 0;
};

// The work that is shared at the moment.
struct Job {
    void (*work)(void*, index);
    void* context;
    index count;
    std::vector<Range>& ranges;  // one for each thread
    const Modes callers = modes();
    std::mutex failing;
    std::exception_ptr failure;

    Job(void (*work)(void*, index), void* context, index count, std::vector<Range>& ranges)
        : work(work), context(context), count(count), ranges(ranges) {
        const index threads = index(ranges.size());
        for (index t = 0; t < threads; ++t) {
            ranges[std::size_t(t)].next.store(t * count / threads, std::memory_order_relaxed);
            ranges[std::size_t(t)].end = (t + 1) * count / threads;
        }
    }

    // Thread t's part, and then what is left of the others'.
    void take_pieces(std::size_t t) {
        const Modes own = modes();
        if (own != callers) set_modes(callers);
        for (std::size_t n = 0; n < ranges.size(); ++n) {
            Range& range = ranges[(t + n) % ranges.size()];
            for (index piece; (piece = range.next.fetch_add(1, std::memory_order_relaxed)) < range.end;) try {
                    work(context, piece);
                } catch (...) {
                    const std::lock_guard lock(failing);
                    failure = std::current_exception();
                }
        }
        if (own != callers) set_modes(own);
    }
};

class Pool {
public:
    // With as many helpers as the system gives: where it has no more threads, these do all of the work.
    explicit Pool(index helpers) {
        threads_.reserve(std::size_t(helpers));
        try {
            for (index i = 0; i < helpers; ++i) threads_.emplace_back([this, i] { help(std::size_t(i) + 1); });
        } catch (const std::exception&) {  // system_error: no thread; bad_alloc: no memory for one
        }
    }

    ~Pool() {
        ending_ = true;
        offer(nullptr);
        for (std::thread& thread : threads_) thread.join();
    }

    void run(Job& job) {
        offer(&job);
        job.take_pieces(0);
        job_ = nullptr;  // a helper that wakes only now finds nothing, and no one waits for it
        for (int look = 0; inside_ != 0; ++look) look < looks ? pause() : std::this_thread::yield();
    }

private:
    void offer(Job* job) {
        job_ = job;
        ++round_;
        round_.notify_all();
    }

    // A helper is inside before it looks for the job, and the caller takes the job away before it waits for those
    // inside: in the one order of these atomics, a helper finds no job or is waited for.
    void help(std::size_t t) {
        for (unsigned seen = 0; !ending_;) {
            for (int look = 0; look < looks && round_.load(std::memory_order_acquire) == seen; ++look) pause();
            round_.wait(seen);
            seen = round_;
            ++inside_;
            if (Job* const job = job_) job->take_pieces(t);
            --inside_;
        }
    }

    std::vector<std::thread> threads_;
    std::atomic<unsigned> round_{0};
    std::atomic<index> inside_{0};  // helpers that may have the job
    std::atomic<bool> ending_{false};
    std::atomic<Job*> job_{nullptr};
};

// Never destroyed: when the process ends, helpers may still be looking, and a forked child has the parent's memory but
// none of its threads to join.
struct Shared {
    std::atomic<bool> busy{false};  // with the work of some caller
    Pool* pool = nullptr;
    std::atomic<index> threads{1};
    OpenMP openmp;  // its functions for the caller that is busy
    std::atomic<int (*)()> max_threads{nullptr};  // the same of openmp's, which all callers ask at any time
    std::vector<Range> ranges;  // of the current job
};

Shared* shared = new Shared;

#ifndef _WIN32
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] {
    const Shared* const before = shared;
    shared = new Shared;
    shared->threads = before->threads.load();
    shared->max_threads = before->max_threads.load();  // the caller's limit still holds for our own pool
});
#endif

}  // namespace

index num_threads() {
    const index ours = shared->threads.load(std::memory_order_relaxed);
    int (*const most)() = shared->max_threads.load(std::memory_order_relaxed);
    return most ? smaller(ours, index(most())) : ours;
}

void set_num_threads(index count) {
    while (shared->busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    shared->threads = larger(count, 1);
    delete shared->pool;  // the next call that shares makes another
    shared->pool = nullptr;
    shared->busy.store(false, std::memory_order_release);
}

void use_openmp(OpenMP runtime) {
    while (shared->busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    shared->openmp = runtime;
    shared->max_threads = runtime.max_threads;
    shared->busy.store(false, std::memory_order_release);
}

void share(index count, void (*work)(void* context, index piece), void* context) {
    const index threads = num_threads();
    if (count <= 1 || threads <= 1 || shared->busy.exchange(true, std::memory_order_acquire)) {
        for (index piece = 0; piece < count; ++piece) work(context, piece);
        return;
    }
    if (index(shared->ranges.size()) != threads) try {
            shared->ranges = std::vector<Range>(std::size_t(threads));
        } catch (...) {
            shared->busy.store(false, std::memory_order_release);
            throw;
        }
    Job job(work, context, count, shared->ranges);
    try {
        if (shared->openmp.parallel) {
            const auto take_pieces = [](void* context) {
                Job& job = *static_cast<Job*>(context);
                job.take_pieces(std::size_t(shared->openmp.thread()));
            };
            shared->openmp.parallel(take_pieces, &job, unsigned(threads), 0);
        } else {
            if (shared->pool == nullptr) shared->pool = new Pool(threads - 1);
            shared->pool->run(job);
        }
    } catch (...) {  // no memory for the pool: all is done here
        job.take_pieces(0);
    }
    shared->busy.store(false, std::memory_order_release);
    if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace loopnest
