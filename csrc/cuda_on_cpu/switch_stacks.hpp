// Switching between the stacks of fibers: what a called function must keep is pushed onto this stack, the stack pointer
// is stored and another's loaded, and the other's registers are popped. 10 ns, where swapcontext's system call takes
// 300.
//
// Part of on_cpu.cpp, inside its namespace.
#pragma once

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
