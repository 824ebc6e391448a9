// Loops with known counts (tests/test_inspect.py): the comment above each loop has them.

        .text

        .macro FUNCTION name
        .globl  \name
        .type   \name, @function
        .p2align 4
\name:
        .endm
        .macro END name
        ret
        .size   \name, . - \name
        .endm

// A sum of 8 floats a turn, in two chains: 2 adds that read memory, 2 scalar, 1 branch; 16 flops, 64 bytes.
FUNCTION two_chains
1:      vaddps  (%rdi), %ymm0, %ymm0
        vaddps  32(%rdi), %ymm1, %ymm1
        addq    $64, %rdi
        cmpq    %rsi, %rdi
        jne     1b
END two_chains

// One chain that is lengthened twice a turn: 2 scalar FMAs, one after the other.
FUNCTION one_chain_twice
1:      vfmadd231sd (%rdi), %xmm1, %xmm0
        vfmadd231sd 8(%rdi), %xmm1, %xmm0
        addq    $16, %rdi
        decq    %rsi
        jnz     1b
END one_chain_twice

// Spills: a vector that goes to the stack and comes back, and an FMA that reads it there. An array on the stack is none.
FUNCTION spills
        pushq   %rbp
        movq    %rsp, %rbp
        subq    $256, %rsp
1:      vmovups (%rdi), %zmm1
        vmovups %zmm1, -64(%rbp)
        vmovups 64(%rsp), %zmm2
        vfmadd231ps 128(%rsp), %zmm1, %zmm2
        vmovups %zmm2, (%rsp,%rcx,4)
        decq    %rsi
        jnz     1b
        leave
END spills

// rbp is a pointer like any other here, for it was never made the frame's.
FUNCTION rbp_is_a_pointer
1:      vmovupd (%rbp), %ymm0
        vmovupd %ymm0, (%rdi)
        addq    $32, %rbp
        decq    %rsi
        jnz     1b
END rbp_is_a_pointer

// Two loops, one in the other: the inner one multiplies and adds, the outer one counts.
FUNCTION nested
2:      movq    %rdx, %rcx
1:      vmulpd  (%rdi,%rcx,8), %xmm1, %xmm2
        vaddpd  %xmm2, %xmm0, %xmm0
        subq    $2, %rcx
        jg      1b
        decq    %rsi
        jnz     2b
END nested

// A test at the bottom that is entered first, as compilers turn `while` around.
FUNCTION entered_at_its_test
        jmp     2f
1:      vaddsd  (%rdi), %xmm0, %xmm0
        addq    $8, %rdi
2:      decq    %rsi
        jns     1b
END entered_at_its_test

// A detour from the common path, with a loop in it: the common path skips its 3 instructions.
FUNCTION with_a_side_way
1:      vmovupd (%rdi), %ymm1
        vucomisd %xmm1, %xmm3
        ja      3f
2:      vmulpd  %ymm1, %ymm1, %ymm1
        vmovupd %ymm1, (%rdi)
        addq    $32, %rdi
        decq    %rsi
        jnz     1b
        ret
        nopw    (%rax,%rax)
3:      decq    %rcx
        jnz     3b
        jmp     2b
END with_a_side_way

// AVX-512: masks, a broadcast operand, a conversion, a shuffle, a comparison, a prefetch.
FUNCTION all_kinds
1:      prefetcht0 512(%rdi)
        vmovups (%rdi), %zmm1{%k1}{z}
        vmulps  (%rsi){1to16}, %zmm1, %zmm1
        vcvtdq2ps %zmm1, %zmm2
        vpermps %zmm2, %zmm3, %zmm2
        vmaxps  %zmm2, %zmm4, %zmm2
        vcmpltps %zmm2, %zmm4, %k2
        vandps  %zmm5, %zmm2, %zmm2
        vsqrtps %zmm2, %zmm2
        vmovaps %zmm2, %zmm6
        vmovups %zmm6, (%rdi){%k1}
        addq    $64, %rdi
        cmpq    %rdx, %rdi
        jb      1b
END all_kinds

FUNCTION no_loop
        vaddps  %xmm0, %xmm1, %xmm0
END no_loop

        .section .note.GNU-stack, "", @progbits
