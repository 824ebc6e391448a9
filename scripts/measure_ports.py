"""Measure what this machine's core does in a cycle: a row of the table in python/loopnest/inspect/families.py.

Each entry is a loop of one instruction. Throughputs come from independent instructions, latencies from a chain.

    python scripts/measure_ports.py        # needs cc, on x86-64 Linux; some seconds

It prints cycles per instruction. A chain of integer additions measures the clock: every core does one a cycle.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

COPIES = 24
"""Instructions in a loop."""

FLAGS = {"zmm": "avx512f", "ymm": "avx2", "xmm": "avx2", "": ""}
"""The flag in /proc/cpuinfo for the instructions of a register."""


def independent() -> dict[str, str]:
    """Instructions by name; {r} is another register for each copy, {v} the kind of register."""
    forms = {
        "multiply-add": "vfmadd231ps %{v}14, %{v}15, %{v}{r}",
        "multiply": "vmulps %{v}14, %{v}15, %{v}{r}",
        "add": "vaddps %{v}14, %{v}15, %{v}{r}",
        "compare (maximum)": "vmaxps %{v}14, %{v}15, %{v}{r}",
        "shuffle in lanes": "vshufps $1, %{v}14, %{v}15, %{v}{r}",
        "load": "vmovups (%rdi), %{v}{r}",
        "load, broadcast": "vbroadcastss (%rdi), %{v}{r}",
        "store": "vmovups %{v}{r}, (%rdi)",
        "divide float32": "vdivps %{v}14, %{v}15, %{v}{r}",
        "divide float64": "vdivpd %{v}14, %{v}15, %{v}{r}",
    }
    found = {}
    for what, form in forms.items():
        for bits, vectors in ((128, "xmm"), (256, "ymm"), (512, "zmm")):
            found[f"{what}, {bits} bits"] = form.replace("{v}", vectors)
    found["shuffle across lanes, 256 bits"] = "vpermps %ymm14, %ymm15, %ymm{r}"
    found["shuffle across lanes, 512 bits"] = "vpermps %zmm14, %zmm15, %zmm{r}"
    found["load, 64 bits"] = "mov (%rdi), %rax"
    found["store, 64 bits"] = "mov %rdx, (%rdi)"
    return found


def chains() -> dict[str, str]:
    """Instructions by name; each copy waits for the previous one."""
    return {
        "latency of a multiply-add": "vfmadd231ps %ymm14, %ymm15, %ymm0",
        "latency of a multiply": "vmulps %ymm14, %ymm0, %ymm0",
        "latency of an add": "vaddps %ymm14, %ymm0, %ymm0",
        "latency of a maximum": "vmaxps %ymm14, %ymm0, %ymm0",
        "latency of a division": "vdivps %ymm14, %ymm0, %ymm0",
        "latency of a conversion": "vcvtps2dq %ymm0, %ymm0",
    }


CLOCK = "clock"

MAIN = """
#include <stdio.h>
#include <string.h>
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
_Alignas(64) static char buffer[4096];
%(declared)s
static struct { const char *name; void (*run)(void *, long); } tests[] = {%(listed)s};
int main(void) {
    enum { count = sizeof tests / sizeof *tests };
    double best[count];
    for (int i = 0; i < count; i++) best[i] = 1e9;
    for (int round = 0; round < 15; round++)
        for (int i = 0; i < count; i++) {
            const long turns = 10000;
            const double start = now();
            tests[i].run(buffer, turns);
            const double each = (now() - start) / (double)turns / %(copies)d;
            if (each < best[i]) best[i] = each;
        }
    const double clock = 1 / best[count - 1];
    printf("%%.2f GHz\\n", clock / 1e9);
    for (int i = 0; i + 1 < count; i++) printf("%%-36s %%6.2f cycles\\n", tests[i].name, best[i] * clock);
}
"""


def usable(instruction: str, flags: set[str]) -> bool:
    """Whether the processor has these registers."""
    kind = next((kind for kind in ("zmm", "ymm", "xmm") if kind in instruction), "")
    return not FLAGS[kind] or FLAGS[kind] in flags


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    tests = {**independent(), **chains(), CLOCK: "add $1, %rdx"}
    tests = {name: text for name, text in tests.items() if usable(text, flags)}
    assembly = [".text"]
    for n, text in enumerate(tests.values()):
        assembly += [f".globl test{n}", f"test{n}:", "1:"]
        assembly += [text.replace("{r}", str(copy % 14)) for copy in range(COPIES)]
        assembly += ["dec %rsi", "jnz 1b", "vzeroupper", "ret"]
    assembly.append('.section .note.GNU-stack, "", @progbits')
    declared = "".join(f"void test{n}(void *, long);" for n in range(len(tests)))
    listed = ",".join(f'{{"{name}", test{n}}}' for n, name in enumerate(tests))
    with tempfile.TemporaryDirectory() as folder:
        loops, program = Path(folder, "loops.s"), Path(folder, "main.c")
        loops.write_text("\n".join(assembly) + "\n")
        program.write_text(MAIN % {"declared": declared, "listed": listed, "copies": COPIES})
        subprocess.run(["cc", "-O1", "-o", f"{folder}/ports", str(program), str(loops)], check=True)
        subprocess.run([f"{folder}/ports"], check=True)


if __name__ == "__main__":
    main()
