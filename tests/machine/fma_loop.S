// The peak by hand: only fused multiply-adds in registers, and a counter of rounds. What the compiler made of the
// loop in csrc/measure/limits.hpp must be as fast (tests/test_peak.py).
//
// long name(long rounds): runs that many rounds, returns the flops. zmm24 or ymm14 is x, zmm25 or ymm15 is y; 24 chains of AVX-512
// and 12 of AVX2, more than 2 units with 4 cycles of latency keep busy.

        .text

        .macro LOOP name, kind, register, x, y, lanes, chains:vararg
        .globl  \name
        .type   \name, @function
        .p2align 6
\name:
        vbroadcasts\kind one_\kind(%rip), %\register\x
        vbroadcasts\kind small_\kind(%rip), %\register\y
        xorl    %eax, %eax
        .irp chain, \chains
        vmovaps %\register\y, %\register\chain
        addq    $2 * \lanes, %rax
        .endr
        imulq   %rdi, %rax
        .p2align 6
1:
        .irp chain, \chains
        vfmadd213p\kind %\register\y, %\register\x, %\register\chain
        .endr
        decq    %rdi
        jnz     1b
        vzeroupper
        ret
        .size   \name, . - \name
        .endm

        LOOP fma_v4_float32, s, zmm, 24, 25, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
        LOOP fma_v4_float64, d, zmm, 24, 25, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
        LOOP fma_v3_float32, s, ymm, 14, 15, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
        LOOP fma_v3_float64, d, ymm, 14, 15, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

        .section .rodata
        .p2align 3
one_s:   .float  1
small_s: .float  0.001
        .p2align 3
one_d:   .double 1
small_d: .double 0.001

        .section .note.GNU-stack, "", @progbits
