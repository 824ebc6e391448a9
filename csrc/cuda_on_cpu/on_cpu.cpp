// Runs the kernels of a .cu file on a CPU: the blocks of a grid in turn, the threads of a block as fibers.
//
// A fiber has a stack of its own and runs until it waits for others; then the next one runs. When all that are awaited
// have arrived, they go on. When nobody can go on, or threads of a block wait at different barriers, the launch ends with
// a message that names the lines.
//
// Compiled with LOOPNEST_TSAN it tells ThreadSanitizer what orders two accesses and what does not: each fiber is a
// thread of its own; a barrier orders what comes before it and what comes after; one block is not ordered with another.
// Each block then has a new thread of the system, new stacks and new shared memory, so that no address is used twice.
#include "on_cpu.hpp"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(LOOPNEST_TSAN)
#include <initializer_list>
#include <sanitizer/tsan_interface.h>
#endif
#if defined(LOOPNEST_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

#define EXPORTED extern "C" __attribute__((visibility("default")))

extern "C" const loopnest::on_cpu::Kernel loopnest_kernels[];  // made for the .cu file: python/loopnest/cuda_on_cpu.py

namespace loopnest::on_cpu {

uint3 thread, block;
dim3 threads, blocks;

namespace {

constexpr size_t stack_bytes = 128 << 10;
constexpr unsigned most_threads = 1024;
constexpr size_t dynamic_bytes = 228 << 10;  // an H100's shared memory, the largest that a block can ask for
constexpr unsigned char unwritten = 0xFF;    // as a float and as a double a NaN, as an integer -1

// --- switching stacks

#if defined(__x86_64__)
// What a called function must keep, onto this stack; the stack pointer to where `from` points; and the other's back.
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
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.type loopnest_switch, %function
loopnest_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size loopnest_switch, .-loopnest_switch
)");
extern "C" void loopnest_switch(void** from, void* to);

struct Context {
    void* stack_pointer = nullptr;
    void begin(char* stack, void (*entry)()) {
        void** top = reinterpret_cast<void**>(stack + stack_bytes - 64) - 20;
        for (int i = 0; i < 20; ++i) top[i] = nullptr;
        top[11] = reinterpret_cast<void*>(entry);  // x30
        stack_pointer = top;
    }
    void go_to(Context& other) { loopnest_switch(&stack_pointer, other.stack_pointer); }
};
#else
struct Context {
    ucontext_t saved;
    void begin(char* stack, void (*entry)()) {
        getcontext(&saved);
        saved.uc_stack.ss_sp = stack;
        saved.uc_stack.ss_size = stack_bytes;
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
    int line;                       // of what it waits at
    bool yes;                       // for __syncthreads_count
    unsigned mask;                  // of the lanes that it waits for
    bool orders;                    // __syncwarp orders memory, a shuffle does not
    unsigned char given[16];        // what it brings to a shuffle
    unsigned seen_mask;
    unsigned char seen[32][16];     // what the others brought
    void* tsan;
    void* fake_stack;
};

Fiber fibers[most_threads];
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
bool strict;                 // whether a barrier that is not reached by threads that returned is a problem
#if defined(LOOPNEST_TSAN)
constexpr bool new_thread_for_each_block = true;
#else
constexpr bool new_thread_for_each_block = false;
#endif
[[maybe_unused]] void* scheduler_tsan;
bool upwards_first = true;   // whether the threads of a block begin with the first one or the last
unsigned polls;              // atomics since the running thread began to run
thread_local volatile char in_shared_memory;  // so that this module has thread-local memory, where shared arrays lie

#if defined(LOOPNEST_ASAN)
const void* scheduler_stack;
size_t scheduler_stack_size;
#endif

#if defined(LOOPNEST_TSAN)
char sync[1 << 16];  // what happens-before goes through: another place for each barrier
unsigned barriers;
#endif

// What these threads of a block did so far happens before all that they do from now on. All of them wait.
void order(unsigned first, unsigned last, State state, unsigned mask = 0) {
#if defined(LOOPNEST_TSAN)
    char* const at = &sync[barriers++ % sizeof sync];
    for (const auto through : {__tsan_release, __tsan_acquire})
        for (unsigned i = first; i < last; ++i)
            if (fibers[i].state == state && fibers[i].mask == mask) {
                __tsan_switch_to_fiber(fibers[i].tsan, __tsan_switch_to_fiber_no_sync);
                through(at);
            }
    __tsan_switch_to_fiber(scheduler_tsan, __tsan_switch_to_fiber_no_sync);
#else
    (void)first, (void)last, (void)state, (void)mask;
#endif
}

void back_to_scheduler(bool for_ever = false) {
    Fiber* const self = running;
#if defined(LOOPNEST_TSAN)
    __tsan_switch_to_fiber(scheduler_tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(LOOPNEST_ASAN)
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &self->fake_stack, scheduler_stack, scheduler_stack_size);
#endif
    (void)for_ever;
    self->context.go_to(scheduler);
#if defined(LOOPNEST_ASAN)
    __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
}

void run_thread() {
#if defined(LOOPNEST_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
    call(arguments);
    running->state = State::done;
    back_to_scheduler(true);
    __builtin_unreachable();
}

void go_on(unsigned number) {
    Fiber& fiber = fibers[number];
    running = &fiber;
    thread = fiber.index;
#if defined(LOOPNEST_TSAN)
    __tsan_switch_to_fiber(fiber.tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(LOOPNEST_ASAN)
    void* fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, stacks + number * stack_bytes, stack_bytes);
#endif
    polls = 0;
    scheduler.go_to(fiber.context);
#if defined(LOOPNEST_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

// --- waiting

// Let the lanes of a warp that wait for each other go on, where all have arrived.
bool release_warp(unsigned warp) {
    const unsigned first = warp * 32, lanes = in_block - first < 32 ? in_block - first : 32;
    bool released = false;
    for (unsigned i = 0; i < lanes; ++i) {
        const Fiber& waiting = fibers[first + i];
        if (waiting.state != State::at_warp) continue;
        unsigned arrived = 0;
        bool complete = true;
        for (unsigned j = 0; j < lanes; ++j) {
            const Fiber& other = fibers[first + j];
            if (!(waiting.mask >> j & 1u) || other.state == State::done) continue;
            if (other.state == State::at_warp && other.mask == waiting.mask && other.line == waiting.line)
                arrived |= 1u << j;
            else
                complete = false;
        }
        if (!complete) continue;
        if (waiting.orders) order(first, first + lanes, State::at_warp, waiting.mask);
        for (unsigned j = 0; j < lanes; ++j)
            if (arrived >> j & 1u) {
                Fiber& seer = fibers[first + j];
                seer.seen_mask = arrived;
                for (unsigned k = 0; k < lanes; ++k)
                    if (arrived >> k & 1u)
                        for (unsigned byte = 0; byte < 16; ++byte) seer.seen[k][byte] = fibers[first + k].given[byte];
                seer.state = State::ready;
            }
        released = true;
    }
    return released;
}

void name(const Fiber& fiber, char* text, size_t size) {
    if (threads.z > 1)
        snprintf(text, size, "(%u, %u, %u)", fiber.index.x, fiber.index.y, fiber.index.z);
    else if (threads.y > 1)
        snprintf(text, size, "(%u, %u)", fiber.index.x, fiber.index.y);
    else
        snprintf(text, size, "%u", fiber.index.x);
}

// All threads that have not returned are at the barrier: let them go on, where they are at the same one.
bool release_block() {
    const Fiber* first = nullptr;
    const Fiber* elsewhere = nullptr;
    const Fiber* returned = nullptr;
    unsigned waiting = 0, left = 0, yes = 0;
    for (unsigned i = 0; i < in_block; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.state == State::done) {
            if (!returned) returned = &fiber;
            ++left;
            continue;
        }
        if (!first) first = &fiber;
        if (fiber.line != first->line || fiber.state != first->state) elsewhere = &fiber;
        ++waiting;
        yes += fiber.yes;
    }
    char one[48], other[48];
    name(*first, one, sizeof one);
    if (elsewhere || first->state != State::at_barrier) {
        if (!elsewhere) elsewhere = first;
        name(*elsewhere, other, sizeof other);
        const auto at = [](const Fiber* f) { return f->state == State::at_barrier ? "__syncthreads()" : "its warp"; };
        snprintf(problem, sizeof problem,
                 "divergent barrier: in block (%u, %u, %u) thread %s waits for %s in line %d, and thread %s for %s in "
                 "line %d",
                 block.x, block.y, block.z, one, at(first), first->line, other, at(elsewhere), elsewhere->line);
        return false;
    }
    if (returned && strict) {
        name(*returned, other, sizeof other);
        snprintf(problem, sizeof problem,
                 "unreached barrier: in block (%u, %u, %u) %u threads wait at __syncthreads() in line %d, and %u have "
                 "returned before it, such as %s",
                 block.x, block.y, block.z, waiting, first->line, left, other);
        return false;
    }
    counted = int(yes);
    order(0, in_block, State::at_barrier);
    for (unsigned i = 0; i < in_block; ++i)
        if (fibers[i].state == State::at_barrier) fibers[i].state = State::ready;
    return true;
}

// Fill the module's thread-local memory, in which shared arrays lie.
int fill_shared(dl_phdr_info* info, size_t, void*) {
    const auto* const mine = reinterpret_cast<const char*>(&loopnest_kernels);
    bool is_mine = false;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& part = info->dlpi_phdr[i];
        const char* const from = reinterpret_cast<const char*>(info->dlpi_addr + part.p_vaddr);
        is_mine |= part.p_type == PT_LOAD && mine >= from && mine < from + part.p_memsz;
    }
    if (!is_mine) return 0;
    for (int i = 0; i < info->dlpi_phnum; ++i)
        if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data) {
            const size_t size = info->dlpi_phdr[i].p_memsz;
            memset(info->dlpi_tls_data, unwritten, size);
#if defined(LOOPNEST_TSAN)
            fprintf(stderr, "LOOPNEST block %u %u %u shared %p %zu dynamic %p %zu\n", block.x, block.y, block.z,
                    info->dlpi_tls_data, size, static_cast<void*>(dynamic_memory), dynamic_used);
#endif
        }
    return 1;
}

void* new_memory(void* where, size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0);
    void* const memory = mmap(where, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "no memory for the threads of a block: %s\n", strerror(errno));
        abort();
    }
    return memory;
}

#if defined(LOOPNEST_TSAN)
// ThreadSanitizer takes a new fiber for the one that it has seen end, so that two blocks seem to be ordered. It knows 8,128
// at a time.
void* new_tsan_fiber() {
    static void* made[4096];
    static unsigned count = 0;
    void*& mine = made[count++ % 4096];
    if (mine) __tsan_destroy_fiber(mine);
    return mine = __tsan_create_fiber(0);
}
#endif

void run_block() {
    const bool fresh = new_thread_for_each_block;
    if (fresh || !stacks) stacks = static_cast<char*>(new_memory(nullptr, (fresh ? in_block : most_threads) * stack_bytes));
    if (fresh) dynamic_memory = static_cast<char*>(new_memory(dynamic_memory, dynamic_bytes));
    in_shared_memory = 0;
    dl_iterate_phdr(fill_shared, nullptr);
    memset(dynamic_shared(), unwritten, dynamic_used);
    unsigned number = 0;
#if defined(LOOPNEST_TSAN)
    scheduler_tsan = __tsan_get_current_fiber();
#endif
    for (unsigned z = 0; z < threads.z; ++z)
        for (unsigned y = 0; y < threads.y; ++y)
            for (unsigned x = 0; x < threads.x; ++x, ++number) {
                Fiber& fiber = fibers[number];
                fiber.state = State::ready;
                fiber.index = {x, y, z};
                fiber.context.begin(stacks + number * stack_bytes, run_thread);
#if defined(LOOPNEST_TSAN)
                fiber.tsan = new_tsan_fiber();
                char text[80];
                snprintf(text, sizeof text, "LOOPNEST block %u %u %u thread %u %u %u", block.x, block.y, block.z, x, y, z);
                __tsan_set_fiber_name(fiber.tsan, text);
#endif
            }
    const bool even = (block.x + block.y + block.z) % 2 == 0;
    bool upwards = upwards_first == even;
    while (true) {
        bool ran = false, left = false;
        for (unsigned i = 0; i < in_block; ++i) {
            const unsigned next = upwards ? i : in_block - 1 - i;
            if (fibers[next].state == State::ready) {
                go_on(next);
                ran = true;
                if (problem[0]) break;
            }
            left |= fibers[next].state != State::done;
        }
        if (!left || problem[0]) break;
        bool released = false;
        for (unsigned warp = 0; warp * 32 < in_block; ++warp) released |= release_warp(warp);
        if (ran && !released) continue;
        if (!released && !release_block()) break;
        upwards = !upwards;
    }
    if (fresh) munmap(stacks, (fresh ? in_block : most_threads) * stack_bytes);
}

void* run_block_in_thread(void*) {
    run_block();
    return nullptr;
}

pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) void survive_fork() {
    pthread_atfork([] { pthread_mutex_lock(&one_at_a_time); }, [] { pthread_mutex_unlock(&one_at_a_time); },
                   [] { pthread_mutex_unlock(&one_at_a_time); });
}

}  // namespace

// --- what kernels call

void wait_for_block(int line) { count_in_block(line, false); }

int count_in_block(int line, bool yes) {
    Fiber* const self = running;
    self->state = State::at_barrier;
    self->line = line;
    self->yes = yes;
    self->mask = 0;
    back_to_scheduler();
    return counted;
}

unsigned lane() { return unsigned(running - fibers) % 32; }

void wait_in_warp(unsigned mask, int line, bool orders) {
    Fiber* const self = running;
    if (!(mask >> lane() & 1u)) {
        char one[48];
        name(*self, one, sizeof one);
        snprintf(problem, sizeof problem, "wrong mask: thread %s calls for the lanes 0x%08x in line %d, and is none of them",
                 one, mask, line);
    }
    self->state = State::at_warp;
    self->mask = mask;
    self->line = line;
    self->orders = orders;
    back_to_scheduler();
}

void wait_for_warp(unsigned mask, int line) { wait_in_warp(mask, line, true); }

Seen exchange(unsigned mask, const void* value, size_t size, int line) {
    Fiber* const self = running;
    const auto* const bytes = static_cast<const unsigned char*>(value);
    for (size_t i = 0; i < size; ++i) self->given[i] = bytes[i];
    wait_in_warp(mask, line, false);
    return {self->seen_mask, self->seen};
}

// A thread that does one atomic after another may wait for what another one writes: let the others run.
void poll() {
    if (++polls > 1000) back_to_scheduler();
}

void* dynamic_shared() {
    if (!dynamic_memory) dynamic_memory = static_cast<char*>(new_memory(nullptr, dynamic_bytes));
    return dynamic_memory;
}

void trap(int line) {
    snprintf(problem, sizeof problem, "__trap() in line %d", line);
    back_to_scheduler(true);
    __builtin_unreachable();
}

}  // namespace loopnest::on_cpu

using namespace loopnest::on_cpu;

// Run a kernel by its name. sizes: the grid's x, y, z, and the block's; shared: bytes of dynamic shared memory; values: for
// each parameter where its value lies, as cuLaunchKernel takes them. be_strict: a barrier that some threads have returned
// before is a problem. Returns 0; or 1, with the reason in `why`, which has `room` characters.
EXPORTED int loopnest_launch(const char* kernel, const unsigned* sizes, size_t shared, void** values, int be_strict,
                             char* why, size_t room) {
    pthread_mutex_lock(&one_at_a_time);
    problem[0] = 0;
    call = nullptr;
    for (const Kernel* k = loopnest_kernels; k->name; ++k)
        if (!strcmp(k->name, kernel)) call = k->call;
    blocks = dim3(sizes[0], sizes[1], sizes[2]);
    threads = dim3(sizes[3], sizes[4], sizes[5]);
    const unsigned long long product = 1ull * threads.x * threads.y * threads.z;
    if (!call)
        snprintf(problem, sizeof problem, "no kernel is called %s", kernel);
    else if (product == 0 || product > most_threads || threads.z > 64)
        snprintf(problem, sizeof problem, "a block of %u x %u x %u threads, expected 1 to 1024, and 64 in z at most",
                 threads.x, threads.y, threads.z);
    else if (!blocks.x || !blocks.y || !blocks.z || blocks.x > 0x7FFFFFFFu || blocks.y > 65535 || blocks.z > 65535)
        snprintf(problem, sizeof problem, "a grid of %u x %u x %u blocks, expected 1 to 2147483647 x 65535 x 65535", blocks.x,
                 blocks.y, blocks.z);
    else if (shared > dynamic_bytes)
        snprintf(problem, sizeof problem, "%zu bytes of dynamic shared memory, expected at most %zu", shared, dynamic_bytes);
    in_block = unsigned(product);
    arguments = values;
    dynamic_used = shared;
    strict = be_strict != 0;
#if defined(LOOPNEST_ASAN)
    if (!problem[0]) {
        __asan_unpoison_memory_region(dynamic_shared(), dynamic_bytes);
        const size_t whole = (shared + 7) / 8 * 8;
        __asan_poison_memory_region(static_cast<char*>(dynamic_shared()) + whole, dynamic_bytes - whole);
        __asan_unpoison_memory_region(dynamic_shared(), shared);
    }
#endif
    for (unsigned z = 0; z < blocks.z && !problem[0]; ++z)
        for (unsigned y = 0; y < blocks.y && !problem[0]; ++y)
            for (unsigned x = 0; x < blocks.x && !problem[0]; ++x) {
                block = {x, y, z};
                if (new_thread_for_each_block) {
                    pthread_t of_block;
                    pthread_create(&of_block, nullptr, run_block_in_thread, nullptr);
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
// A program that launches what its standard input says, for sanitizers, which have to be there from a process's start:
//
//     limit 20                                      seconds, after which it tells where the threads are, and ends
//     downwards                                     a block's last thread is the first to run
//     array float 1000                              memory of so many elements, random ones in -1 … 1; integers are 0
//     launch tiled<float> 2 3 1  16 16 1  0 5       kernel, grid, block, bytes of shared memory, how many parameters
//     p 0                                           a pointer: the number of its array
//     m 1 20 50 50 1                                a Matrix<T>: array, rows, cols, row_stride, col_stride
//     i 7 | u 7 | l 7 | b 1 | f 0.5 | d 0.5         int, unsigned, long long, bool, float, double
#include <signal.h>

#include "../cuda/view.hpp"

namespace {

void tell_where_threads_are(int) {
    char text[200];
    unsigned told = 0;
    for (unsigned i = 0; i < in_block && told < 8; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.state == State::done) continue;
        const bool runs = &fiber == running || fiber.state == State::ready;
        const int size = snprintf(text, sizeof text, "LOOPNEST hang block %u %u %u thread %u %u %u %s %d\n", block.x, block.y,
                                  block.z, fiber.index.x, fiber.index.y, fiber.index.z, runs ? "runs" : "waits", fiber.line);
        if (write(2, text, size_t(size)) < 0) break;
        told += runs || told == 0;
    }
    _exit(3);
}


union Value {
    void* pointer;
    Matrix<void*> matrix;
    int i;
    unsigned u;
    long long l;
    bool b;
    float f;
    double d;
    Value() : l(0) {}
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
            signal(SIGALRM, tell_where_threads_are);
            alarm(seconds);
        } else if (!strcmp(word, "downwards")) {
            upwards_first = false;
        } else if (!strcmp(word, "array")) {
            size_t size, elements;
            if (count == 64 || scanf("%511s %zu", word, &elements) != 2) return 2;
            const bool is_float = !strcmp(word, "float"), is_double = !strcmp(word, "double");
            size = elements * (is_double || !strcmp(word, "long") ? 8 : 4);
            void* memory = nullptr;
            // An access far beside an array is to be no race with one to the next array.
            const size_t slack = new_thread_for_each_block ? 1 << 16 : 0;
            if (posix_memalign(&memory, 256, size + slack + !size)) return 2;
            memset(memory, 0, size + slack);
            for (size_t i = 0; i < elements && (is_float || is_double); ++i) {
                seed = seed * 1664525u + 1013904223u;
                const double value = double(seed >> 8) / double(1 << 23) - 1;
                if (is_float)
                    static_cast<float*>(memory)[i] = float(value);
                else
                    static_cast<double*>(memory)[i] = value;
            }
            fprintf(stderr, "LOOPNEST array %u %p %zu\n", count, memory, size);
            arrays[count++] = memory;
        } else if (!strcmp(word, "launch")) {
            unsigned s[6], parameters;
            size_t shared;
            char kernel[512], why[600];
            if (scanf("%511s %u %u %u %u %u %u %zu %u", kernel, s, s + 1, s + 2, s + 3, s + 4, s + 5, &shared, &parameters) != 9 ||
                parameters > 64)
                return 2;
            for (unsigned n = 0; n < parameters; ++n) {
                Value& value = values[n];
                addresses[n] = &value;
                unsigned array = 0;
                int b = 0, read = 0;
                if (scanf(" %1s", word) != 1) return 2;
                switch (word[0]) {
                    case 'p': read = scanf("%u", &array), value.pointer = arrays[array % 64]; break;
                    case 'm':
                        read = scanf("%u %d %d %lld %lld", &array, &value.matrix.rows, &value.matrix.cols,
                                     &value.matrix.row_stride, &value.matrix.col_stride) == 5;
                        value.matrix.data = static_cast<void**>(arrays[array % 64]);
                        break;
                    case 'i': read = scanf("%d", &value.i); break;
                    case 'u': read = scanf("%u", &value.u); break;
                    case 'l': read = scanf("%lld", &value.l); break;
                    case 'b': read = scanf("%d", &b), value.b = b != 0; break;
                    case 'f': read = scanf("%f", &value.f); break;
                    case 'd': read = scanf("%lf", &value.d); break;
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
#endif
