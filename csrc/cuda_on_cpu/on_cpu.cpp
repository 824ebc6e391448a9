// Runs the kernels of a .cu file on a CPU: the blocks of a grid in turn, the threads of a block as fibers.
//
// A fiber runs until it waits for others; then the next one runs. If no thread can go on, or threads of a block wait at
// different barriers, the launch ends with a message that names the lines.
//
// With LOOPNEST_TSAN it reports to ThreadSanitizer what orders two accesses: each fiber is a thread; a barrier orders
// what comes before and after it; blocks are not ordered. Each block then has a new thread of the system, new stacks
// and new shared memory, so that no address is used twice.
#include "on_cpu.hpp"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <initializer_list>

#define EXPORTED extern "C" __attribute__((visibility("default")))

extern "C" const loopnest::on_cpu::Kernel loopnest_kernels[];  // made for the .cu file by backends/cuda_on_cpu.py

constexpr bool tsan = LOOPNEST_TSAN;
extern "C" {  // of ThreadSanitizer's interface, and called only with it
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);  // flags: 1, no synchronization
void __tsan_set_fiber_name(void* fiber, const char* name);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}

namespace loopnest::on_cpu {

uint3 thread, block;
dim3 threads, blocks;

namespace {

constexpr size_t stack_bytes = 128 << 10;
constexpr unsigned most_threads = 1024;
constexpr int most_copies = 64;
constexpr size_t dynamic_bytes = 228 << 10;  // an H100's shared memory, the largest that a block can ask for
constexpr unsigned char unwritten = 0xFF;    // as a float and as a double a NaN, as an integer -1

// Switching between the stacks of fibers. On x86-64 we push what a called function must keep, exchange the stack
// pointer, and pop: 10 ns, where swapcontext's system call takes 300.
#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.type loopnest_switch, @function
loopnest_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size loopnest_switch, .-loopnest_switch
)");
extern "C" void loopnest_switch(void** from, void* to);

struct Context {
    void* stack_pointer = nullptr;
    void begin(char* stack, void (*entry)()) {
        void** top = reinterpret_cast<void**>(stack + stack_bytes - 64);
        *--top = nullptr;  // where `entry` would return to: it never does
        *--top = reinterpret_cast<void*>(entry);
        for (int i = 0; i < 6; ++i) *--top = nullptr;
        stack_pointer = top;
    }
    void go_to(Context& other) { loopnest_switch(&stack_pointer, other.stack_pointer); }
};
#else
struct Context {
    ucontext_t saved;
    void begin(char* stack, void (*entry)()) {
        getcontext(&saved);
        saved.uc_stack = {.ss_sp = stack, .ss_flags = 0, .ss_size = stack_bytes};
        saved.uc_link = nullptr;
        makecontext(&saved, entry, 0);
    }
    void go_to(Context& other) { swapcontext(&saved, &other.saved); }
};
#endif

// --- the threads of the block that runs

enum class State { ready, at_barrier, at_warp, done };

struct Fiber {
    Context context;
    State state;
    uint3 index;
    int line;                       // at which it waits
    bool yes;                       // for __syncthreads_count
    unsigned mask;                  // of the lanes for which it waits
    bool orders;                    // __syncwarp orders memory, a shuffle does not
    unsigned char given[most_given];  // what it brings to a shuffle
    unsigned seen_mask;             // of the lanes that arrived with it
    Copy copies[most_copies];       // that have not ended, the oldest first
    int begun, committed;           // how many of them there are, and how many groups
    void* tsan;
};

Fiber fibers[most_threads];
unsigned char seen[most_threads][most_given];  // what each thread brought to its warp's last exchange
Context scheduler;
Fiber* running;
unsigned in_block;           // how many threads a block has
int counted;                 // what __syncthreads_count returns
Call call;
void** arguments;
char* stacks;
char* dynamic_memory;
size_t dynamic_used;
char problem[600];
bool strict;                 // whether a barrier is a problem if threads have returned before it
void* scheduler_tsan;
bool upwards_first = true;   // whether the threads of a block begin with the first one or the last
unsigned polls;              // atomics since the running thread began to run
thread_local volatile char in_shared_memory;  // so that this module has thread-local memory, where shared arrays lie
char sync[1 << 16];          // carries happens-before: another place for each barrier
unsigned barriers;

// Ends the launch with this message.
template <class... Values>
void fail(const char* form, Values... values) { snprintf(problem, sizeof problem, form, values...); }

void switch_tsan(void* fiber) {
    if (tsan) __tsan_switch_to_fiber(fiber, 1);
}

// All that these waiting threads of a block did so far happens before all that they do from now on.
void order(unsigned first, unsigned last, State state, unsigned mask = 0) {
    if (!tsan) return;
    char* const at = &sync[barriers++ % sizeof sync];
    for (const bool releases : {true, false})
        for (unsigned i = first; i < last; ++i)
            if (fibers[i].state == state && fibers[i].mask == mask) {
                switch_tsan(fibers[i].tsan);
                releases ? __tsan_release(at) : __tsan_acquire(at);
            }
    switch_tsan(scheduler_tsan);
}

void back_to_scheduler() {
    Fiber* const self = running;
    switch_tsan(scheduler_tsan);
    self->context.go_to(scheduler);
}

void run_thread() {
    call(arguments);
    running->state = State::done;
    back_to_scheduler();
    __builtin_unreachable();
}

void go_on(unsigned number) {
    Fiber& fiber = fibers[number];
    running = &fiber;
    thread = fiber.index;
    switch_tsan(fiber.tsan);
    polls = 0;
    scheduler.go_to(fiber.context);
}

// --- waiting

// Lets lanes of a warp that wait for each other go on, if all have arrived.
bool release_warp(unsigned warp) {
    const unsigned first = warp * 32, lanes = in_block - first < 32 ? in_block - first : 32;
    bool released = false;
    for (unsigned i = 0; i < lanes; ++i) {
        const Fiber& waiting = fibers[first + i];
        if (waiting.state != State::at_warp) continue;
        unsigned arrived = 0, awaited = 0;
        for (unsigned j = 0; j < lanes; ++j) {
            const Fiber& other = fibers[first + j];
            if (!(waiting.mask >> j & 1u) || other.state == State::done) continue;
            awaited |= 1u << j;
            if (other.state == State::at_warp && other.mask == waiting.mask && other.line == waiting.line)
                arrived |= 1u << j;
        }
        if (arrived != awaited) continue;
        if (waiting.orders) order(first, first + lanes, State::at_warp, waiting.mask);
        for (unsigned j = 0; j < lanes; ++j)
            if (arrived >> j & 1u) {
                Fiber& arrival = fibers[first + j];
                arrival.seen_mask = arrived;
                __builtin_memcpy(seen[first + j], arrival.given, most_given);  // inlined, and so unseen by sanitizers
                arrival.state = State::ready;
            }
        released = true;
    }
    return released;
}

struct Name {  // of a thread, in messages
    char text[48];
    explicit Name(const Fiber& fiber) {
        const auto [x, y, z] = fiber.index;
        const char* const form = threads.z > 1 ? "(%u, %u, %u)" : threads.y > 1 ? "(%u, %u)" : "%u";
        snprintf(text, sizeof text, form, x, y, z);
    }
};

// All threads that have not returned are at a barrier: lets them go on if it is the same one.
bool release_block() {
    const Fiber *first = nullptr, *elsewhere = nullptr, *returned = nullptr;
    unsigned left = 0, yes = 0;
    for (unsigned i = 0; i < in_block; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.state == State::done) {
            if (left++ == 0) returned = &fiber;
            continue;
        }
        if (!first) first = &fiber;
        if (fiber.line != first->line || fiber.state != first->state) elsewhere = &fiber;
        yes += fiber.yes;
    }
    if (elsewhere || first->state != State::at_barrier) {
        if (!elsewhere) elsewhere = first;
        const auto at = [](const Fiber* f) { return f->state == State::at_barrier ? "__syncthreads()" : "its warp"; };
        fail("divergent barrier: in block (%u, %u, %u) thread %s waits for %s in line %d, and thread %s for %s in "
             "line %d", block.x, block.y, block.z, Name(*first).text, at(first), first->line, Name(*elsewhere).text,
             at(elsewhere), elsewhere->line);
        return false;
    }
    if (returned && strict) {
        fail("unreached barrier: in block (%u, %u, %u) %u threads wait at __syncthreads() in line %d, and %u have "
             "returned before it, such as %s", block.x, block.y, block.z, in_block - left, first->line, left,
             Name(*returned).text);
        return false;
    }
    counted = int(yes);
    order(0, in_block, State::at_barrier);
    for (unsigned i = 0; i < in_block; ++i)
        if (fibers[i].state == State::at_barrier) fibers[i].state = State::ready;
    return true;
}

// Fills this module's thread-local memory, where shared arrays lie.
int fill_shared(dl_phdr_info* info, size_t, void*) {
    auto* const begin = static_cast<volatile char*>(info->dlpi_tls_data);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const size_t size = info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type != PT_TLS || !begin) continue;
        if (&in_shared_memory < begin || &in_shared_memory >= begin + size) continue;  // another module's
        memset(info->dlpi_tls_data, unwritten, size);
        if (tsan)
            fprintf(stderr, "LOOPNEST block %u %u %u shared %p %zu dynamic %p %zu\n", block.x, block.y, block.z,
                    info->dlpi_tls_data, size, static_cast<void*>(dynamic_memory), dynamic_used);
        return 1;
    }
    return 0;
}

char* new_memory(void* where, size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0);
    void* const memory = mmap(where, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "no memory for the threads of a block: %s\n", strerror(errno));
        abort();
    }
    return static_cast<char*>(memory);
}

// ThreadSanitizer confuses a new fiber with one that has ended, so that two blocks seem to be ordered. It knows 8,128
// at a time.
void* new_tsan_fiber(uint3 index) {
    static void* made[4096];
    static unsigned count = 0;
    void*& fiber = made[count++ % 4096];
    if (fiber) __tsan_destroy_fiber(fiber);
    fiber = __tsan_create_fiber(0);
    char text[80];
    const auto [x, y, z] = index;
    snprintf(text, sizeof text, "LOOPNEST block %u %u %u thread %u %u %u", block.x, block.y, block.z, x, y, z);
    __tsan_set_fiber_name(fiber, text);
    return fiber;
}

void run_block() {
    if (tsan || !stacks) stacks = new_memory(nullptr, (tsan ? in_block : most_threads) * stack_bytes);
    if (tsan) dynamic_memory = new_memory(dynamic_memory, dynamic_bytes);
    in_shared_memory = 0;
    dl_iterate_phdr(fill_shared, nullptr);
    memset(dynamic_shared(), unwritten, dynamic_used);
    unsigned number = 0;
    if (tsan) scheduler_tsan = __tsan_get_current_fiber();
    for (unsigned z = 0; z < threads.z; ++z)
        for (unsigned y = 0; y < threads.y; ++y)
            for (unsigned x = 0; x < threads.x; ++x, ++number) {
                Fiber& fiber = fibers[number];
                fiber.state = State::ready;
                fiber.index = {x, y, z};
                fiber.begun = fiber.committed = 0;
                fiber.context.begin(stacks + number * stack_bytes, run_thread);
                if (tsan) fiber.tsan = new_tsan_fiber(fiber.index);
            }
    bool upwards = upwards_first == ((block.x + block.y + block.z) % 2 == 0);
    while (true) {
        bool ran = false, left = false;
        for (unsigned i = 0; i < in_block && !problem[0]; ++i) {
            const unsigned next = upwards ? i : in_block - 1 - i;
            const bool runs = fibers[next].state == State::ready;
            if (runs) go_on(next);
            ran |= runs;
            left |= fibers[next].state != State::done;
        }
        if (!left || problem[0]) break;
        bool released = false;
        for (unsigned warp = 0; warp * 32 < in_block; ++warp) released |= release_warp(warp);
        if (ran && !released) continue;
        if (!released && !release_block()) break;
        upwards = !upwards;
    }
    if (tsan) munmap(stacks, in_block * stack_bytes);
}

pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) void survive_fork() {
    pthread_atfork([] { pthread_mutex_lock(&one_at_a_time); }, [] { pthread_mutex_unlock(&one_at_a_time); },
                   [] { pthread_mutex_unlock(&one_at_a_time); });
}

}  // namespace

// --- what kernels call

static void wait(State state, unsigned mask, int line) {
    running->state = state;
    running->mask = mask;
    running->line = line;
    back_to_scheduler();
}

int count_in_block(int line, bool yes) {
    running->yes = yes;
    wait(State::at_barrier, 0, line);
    return counted;
}

unsigned lane() { return unsigned(running - fibers) % 32; }

void wait_in_warp(unsigned mask, int line, bool orders) {
    if (!(mask >> lane() & 1u))
        fail("wrong mask: thread %s calls for the lanes 0x%08x in line %d, and is none of them", Name(*running).text,
             mask, line);
    running->orders = orders;
    wait(State::at_warp, mask, line);
}

Seen exchange(unsigned mask, const void* value, size_t size, int line) {
    Fiber* const self = running;
    // byte by byte: ThreadSanitizer takes a call of memcpy for the CUDA thread's
    for (size_t i = 0; i < size; ++i) self->given[i] = static_cast<const unsigned char*>(value)[i];
    wait_in_warp(mask, line, false);
    return {self->seen_mask, &seen[(self - fibers) & ~31]};
}

void start_copy(const Copy& copy) {
    Fiber& self = *running;
    if (self.begun == most_copies) {
        fail("cp.async: thread %s has %d copies under way; wait for some", Name(self).text, most_copies);
        back_to_scheduler();
    }
    self.copies[self.begun++] = {copy.to, copy.from, copy.filled, self.committed};
}

void commit_copies() { ++running->committed; }

bool end_copy(int groups, Copy& ended) {
    Fiber& self = *running;
    if (self.begun == 0 || self.copies[0].group >= self.committed - groups) return false;
    ended = self.copies[0];
    for (int n = 1; n < self.begun; ++n) self.copies[n - 1] = self.copies[n];
    --self.begun;
    return true;
}

// A thread that does one atomic after another may wait for another thread's write: let the others run.
void poll() {
    if (++polls > 1000) back_to_scheduler();
}

void* dynamic_shared() {
    if (!dynamic_memory) dynamic_memory = new_memory(nullptr, dynamic_bytes);
    return dynamic_memory;
}

void trap(int line) {
    fail("__trap() in line %d", line);
    back_to_scheduler();
    __builtin_unreachable();
}

}  // namespace loopnest::on_cpu

using namespace loopnest::on_cpu;

// Runs a kernel by its name. sizes: the grid's x, y, z, and the block's; shared: bytes of dynamic shared memory;
// values: the address of each parameter's value, as for cuLaunchKernel; be_strict: a barrier is a problem if threads
// have returned before it. Returns 0; or 1, with the reason in `why`, which has `room` characters.
EXPORTED int loopnest_launch(const char* kernel, const unsigned* sizes, size_t shared, void** values, int be_strict,
                             char* why, size_t room) {
    pthread_mutex_lock(&one_at_a_time);
    problem[0] = 0;
    call = nullptr;
    for (const Kernel* k = loopnest_kernels; k->name && !call; ++k)
        if (!strcmp(k->name, kernel)) call = k->call;
    blocks = dim3(sizes[0], sizes[1], sizes[2]);
    threads = dim3(sizes[3], sizes[4], sizes[5]);
    const unsigned long long product = 1ull * threads.x * threads.y * threads.z;
    if (!call)
        fail("no kernel is called %s", kernel);
    else if (product == 0 || product > most_threads || threads.z > 64)
        fail("a block of %u x %u x %u threads, expected 1 to 1024, and 64 in z at most", threads.x, threads.y,
             threads.z);
    else if (!blocks.x || !blocks.y || !blocks.z || blocks.x > 0x7FFFFFFFu || blocks.y > 65535 || blocks.z > 65535)
        fail("a grid of %u x %u x %u blocks, expected 1 to 2147483647 x 65535 x 65535", blocks.x, blocks.y, blocks.z);
    else if (shared > dynamic_bytes)
        fail("%zu bytes of dynamic shared memory, expected at most %zu", shared, dynamic_bytes);
    in_block = unsigned(product);
    arguments = values;
    dynamic_used = shared;
    strict = be_strict != 0;
    for (unsigned z = 0; z < blocks.z && !problem[0]; ++z)
        for (unsigned y = 0; y < blocks.y && !problem[0]; ++y)
            for (unsigned x = 0; x < blocks.x && !problem[0]; ++x) {
                block = {x, y, z};
                if (tsan) {
                    pthread_t of_block;
                    pthread_create(&of_block, nullptr, [](void*) -> void* { return run_block(), nullptr; }, nullptr);
                    pthread_join(of_block, nullptr);
                } else {
                    run_block();
                }
            }
    const int failed = problem[0] != 0;
    snprintf(why, room, "%s", problem);
    pthread_mutex_unlock(&one_at_a_time);
    return failed;
}

// The name of the kernel of this number, or null.
EXPORTED const char* loopnest_kernel(int number) { return loopnest_kernels[number].name; }

#if defined(LOOPNEST_PROGRAM)
#include "program.hpp"
#endif
