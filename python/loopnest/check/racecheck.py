"""Data races of the kernels in a .cu file, with the line after which a barrier is missing. No GPU is needed.

The file runs on the CPU, each CUDA thread as a fiber, compiled with ThreadSanitizer. ThreadSanitizer is given the
order that a GPU guarantees: `__syncthreads()` orders a block's threads, `__syncwarp()` a warp's, and nothing orders two
blocks. So a pair that it reports is a race on every GPU, even where timing hides it. Only code that the launch executes
is seen: another size may take another branch.

>>> from loopnest.backends.cpp import csrc
>>> from loopnest.check.racecheck import racecheck
>>> racecheck(csrc() / "matmul" / "cuda" / "tiled.cu").findings
()
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.cuda_on_cpu import build
from ..backends.cuda_source import (
    C_TYPES,
    CudaSourceError,
    KernelFunction,
    LaunchSizes,
    Sizes,
    constants_of,
    evaluated,
    kernel_named,
    kernels_of,
    read_source,
)
from .barriers import Barriers

SIZES = {"m": 19, "n": 21, "k": 37}
"""Integer parameters where no values are given: no multiples of a tile's size. `n` and `m` grow until the grid has two
blocks in each direction that depends on them, or the launch has MOST_THREADS."""

MOST_THREADS = 600
"""Threads of a launch whose sizes are chosen here: ThreadSanitizer takes 0.7 ms and 0.8 MB for each."""


BARRIERS = (
    (
        "unreached",
        "not all threads reach this __syncthreads()",
        "GPUs before Volta wait for ever; later ones continue without the data of the missing threads. Let every "
        "thread reach the barrier",
    ),
    (
        "divergent",
        "__syncthreads() in divergent code",
        "All threads of a block must reach the same barrier; move it out of the branch",
    ),
)
"""Errors at a barrier: the simulator's word, the error, and the fix."""


@dataclass(frozen=True)
class Access:
    """One of the two accesses of a race.

    line    of the access
    within  the line in the kernel itself, where `line` is in a function that it calls
    """

    writes: bool
    line: int
    within: int
    block: Sizes
    thread: Sizes

    def __str__(self) -> str:
        where = f"line {self.line}" + (f" (called in line {self.within})" if self.within != self.line else "")
        return f"{where} {'writes' if self.writes else 'reads'}"


@dataclass(frozen=True)
class Finding:
    """One error of a kernel.

    kind      "race": two threads of a block; "blocks": threads of two blocks; "divergent" or "unreached": a barrier
              that only some threads of a block reach; "hang": no end within the time limit; "bounds": an access outside
              of an array; "crash"
    sentence  the error in words
    line      where to put a barrier (after this line), or the line of the barrier or access that is wrong
    memory    the array's name
    accesses  of a race: the earlier one and the later one
    """

    kind: str
    kernel: str
    sentence: str
    line: int | None = None
    memory: str = ""
    accesses: tuple[Access, ...] = ()


@dataclass(frozen=True)
class Racecheck:
    """The findings, and how the kernels were launched. They ran simulated, on the CPU."""

    file: str
    launches: tuple[str, ...]
    findings: tuple[Finding, ...]
    simulated: bool = True


def racecheck(
    file: Path | str,
    *,
    kernel: str | None = None,
    operation: str | None = None,
    sizes: Mapping[str, int] | None = None,
    launch: LaunchSizes | None = None,
    arrays: Mapping[str, str] | None = None,
    bounds: bool = False,
    time_limit: float = 60,
) -> Racecheck:
    """Run the kernels of a .cu file, and report accesses that nothing orders.

    kernel      only this one; all where it is None. Templates run for float.
    operation   "matmul": the three pointers have m k, k n and m n elements. By default the kernel's name decides; for
                other kernels each pointer has as many elements as the product of the integers.
    sizes       integer parameters by name; SIZES has the others
    launch      instead of the comment `// launch: grid=… block=…` above the kernel
    arrays      elements of pointers, as expressions: {"a": "m*k"}; also from a comment `// arrays: a=m*k b=k*n`
    bounds      look for accesses outside of arrays, with AddressSanitizer, instead of races
    time_limit  seconds for a kernel

    Raises CudaSourceError for kernels that cannot be launched as they are, BuildError for a file that does not compile.
    """
    path = Path(file)
    text = read_source(path)
    kernels = kernels_of(text)
    if kernel is not None or not kernels:
        kernels = (kernel_named(kernels, kernel or "", path.name),)
    runs = [_run_of(path.name, text, k, operation, sizes or {}, launch, arrays or {}) for k in kernels]
    program = build(
        text,
        str(path),
        [run.name for run in runs],
        sanitize="address" if bounds else "thread",
        folders=[path.absolute().parent],
        program=True,
    )
    findings: list[Finding] = []
    for run in runs:
        log, status = _logged(program, run.script, time_limit)
        if "LOOPNEST hang" in log and " waits " not in log:  # run the other threads first, to see where they wait
            again, _ = _logged(program, "downwards\n" + run.script, min(time_limit, 5))
            log = again if " waits " in again else log
        findings += _Report(path, text, run, log, program).findings(status, time_limit)
    return Racecheck(str(path), tuple(map(str, runs)), tuple(findings))


def named(pairs: Sequence[str]) -> dict[str, str]:
    """From `name=value` each."""
    for pair in pairs:
        if not re.fullmatch(r"\w+=.+", pair):
            raise CudaSourceError(f"{pair!r}, expected name=value, as in n=100")
    return dict(pair.split("=", 1) for pair in pairs)


def named_sizes(pairs: Sequence[str]) -> dict[str, int]:
    """From `n=100` each."""
    return {name: evaluated(value, {})[0] for name, value in named(pairs).items()}


def report(checked: Racecheck) -> list[str]:
    """A line for each finding, a line that counts them, and a line for each launch."""
    lines = [f"{finding.kernel}: {finding.sentence}" for finding in checked.findings]
    count = len(checked.findings)
    lines.append(f"{count} finding{'' if count == 1 else 's'}" if count else "no race, no barrier that threads miss")
    return lines + [f"simulated: {launch}" for launch in checked.launches]


# --- how a kernel is run


@dataclass(frozen=True)
class _Run:
    """One launch. arrays: their names, in the order of the program's numbers; script: the program's standard input."""

    kernel: KernelFunction
    name: str
    grid: Sizes
    block: Sizes
    sizes: Mapping[str, int]
    arrays: tuple[str, ...]
    script: str

    def __str__(self) -> str:
        grid, block = (" x ".join(map(str, size)) for size in (self.grid, self.block))
        return ", ".join([f"{self.name}, grid {grid}, block {block}", *(f"{n} = {x}" for n, x in self.sizes.items())])


def _run_of(
    file: str,
    text: str,
    kernel: KernelFunction,
    operation: str | None,
    given: Mapping[str, int],
    launch: LaunchSizes | None,
    arrays: Mapping[str, str],
) -> _Run:
    if launch is None:
        launch = kernel.sizes(file)
    matmul = operation == "matmul" or (operation is None and "matmul" in kernel.name)
    integers = [p.name for p in kernel.parameters if p.integer]
    has_matrices = any(p.matrix for p in kernel.parameters)
    names = dict.fromkeys([*integers, *(SIZES if has_matrices or matmul else ()), *given])
    sizes = {name: given.get(name, SIZES.get(name, 21)) for name in names}
    constants = constants_of(text)
    for name in ("n", "m"):
        while name in sizes and name not in given and sizes[name] < 1200 and _few(launch, {**constants, **sizes}, name):
            sizes[name] += 18
    known = {**constants, **sizes}
    grid, block, shared = launch.of(known)

    def count(name: str) -> int:
        """Elements of a pointer's array."""
        pointers = [p.name for p in kernel.parameters if p.pointer]
        expressions = {**_arrays_comment(text, kernel), **arrays}
        if matmul and len(pointers) == 3:
            expressions = {**dict(zip(pointers, ("m*k", "k*n", "m*n"), strict=True)), **expressions}
        if name in expressions:
            return evaluated(expressions[name], known)[0]
        return min(math.prod(max(1, size) for size in sizes.values()), 1 << 22)

    made: list[tuple[str, str]] = []  # name, and "type elements" for the program
    values: list[str] = []
    axes = {"a": ("m", "k"), "b": ("k", "n")} if matmul else {}
    for p in kernel.parameters:
        kind = "float" if p.type == "T" else p.type
        if p.matrix:
            rows, cols = (sizes[axis] for axis in axes.get(p.name, ("m", "n")))
            values.append(f"m {len(made)} {rows} {cols} {cols} 1")
            made.append((p.name, f"{_element('float' if p.matrix == 'T' else p.matrix)} {rows * cols}"))
        elif p.pointer:
            values.append(f"p {len(made)}")
            made.append((p.name, f"{_element(kind)} {count(p.name)}"))
        elif kind in C_TYPES:
            value = {"bool": "1", "float": "0.5", "double": "0.5"}.get(kind) or str(sizes[p.name])
            values.append(f"{_letter(kind)} {value}")
        else:
            raise CudaSourceError(
                f"{file}: {kernel.name}'s {p.name} is a {p.type}, expected pointers, numbers, or a Matrix of view.hpp"
            )
    name = f"{kernel.name}<float>" if kernel.template else kernel.name
    numbers = " ".join(map(str, (*grid, *block, shared, len(values))))
    script = "\n".join([*(f"array {array}" for _, array in made), f"launch {name} {numbers}", *values, ""])
    return _Run(kernel, name, grid, block, sizes, tuple(array for array, _ in made), script)


def _letter(kind: str) -> str:
    """The program's letter for a number of this C type."""
    if kind in ("float", "double", "bool"):
        return kind[0]
    return "l" if ctypes.sizeof(C_TYPES[kind]) == 8 else "u" if C_TYPES[kind] is ctypes.c_uint else "i"


def _element(kind: str) -> str:
    """The program's word for an array's elements: two kinds of floating-point numbers, and integers by their size."""
    if kind in ("float", "double"):
        return kind
    return "long" if kind in C_TYPES and ctypes.sizeof(C_TYPES[kind]) == 8 else "int"


def _few(launch: LaunchSizes, values: Mapping[str, int], name: str) -> bool:
    """Whether the grid has fewer than two blocks in a direction that this size can enlarge."""
    grid, block, _ = launch.of(values)
    far, larger = (launch.of({**values, name: values[name] + more})[0] for more in (10_000, 18))
    directions = [i for i in range(3) if far[i] != grid[i]]
    return any(grid[i] < 2 for i in directions) and math.prod((*larger, *block)) <= MOST_THREADS


def _arrays_comment(text: str, kernel: KernelFunction) -> dict[str, str]:
    """The comment `// arrays: a=m*k b=k*n` above the kernel."""
    comments = re.findall(r"//\s*arrays:([^\n]*)", "\n".join(text.splitlines()[: kernel.line]))
    return dict(re.findall(r"(\w+)\s*=\s*([^\s,]+)", comments[-1])) if comments else {}


_ADDR_NO_RANDOMIZE = 0x0040000


def _fixed_addresses() -> None:
    """Switch off the randomizing of addresses in this process, where that is allowed: newer kernels randomize over so
    wide a range that ThreadSanitizer may find its own memory taken."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "personality"):
        libc.personality(libc.personality(0xFFFFFFFF) | _ADDR_NO_RANDOMIZE)


def _logged(program: Path, script: str, time_limit: float) -> tuple[str, int]:
    """A program's standard error and its exit status."""
    options = {
        "TSAN_OPTIONS": "history_size=2:suppress_equal_addresses=0:report_signal_unsafe=0:color=never",
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=0:color=never:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "color=never",
    }
    try:
        ran = subprocess.run(
            [str(program)],
            input=f"limit {max(1, int(time_limit))}\n{script}",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=time_limit + 10,
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | options,
            preexec_fn=_fixed_addresses,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        log = error.stderr or b""
        return (log.decode(errors="replace") if isinstance(log, bytes) else log), 3
    if "FATAL: ThreadSanitizer: unexpected memory mapping" in ran.stderr:
        raise CudaSourceError(
            "ThreadSanitizer cannot run here: the kernel places memory where it needs its own; as an administrator: "
            "sysctl vm.mmap_rnd_bits=28"
        )
    return ran.stderr, ran.returncode


# --- from the program's log to findings


class _Report:
    """The findings in one run's log: lines of the program, which begin with LOOPNEST, and reports of a sanitizer."""

    def __init__(self, file: Path, text: str, run: _Run, log: str, program: Path) -> None:
        self._file, self._run, self._log, self._program = file, run, log, program
        self._kernel = run.kernel.name
        self._barriers = Barriers(text)
        self._arrays = [
            (int(start, 16), int(start, 16) + int(size), run.arrays[int(number)])
            for number, start, size in re.findall(r"^LOOPNEST array (\d+) (0x[0-9a-f]+) (\d+)$", log, re.MULTILINE)
        ]

    def findings(self, status: int, time_limit: float) -> list[Finding]:
        found = [*self._races(), *self._out_of_bounds()]
        for problem in re.findall(r"^LOOPNEST problem (.*)$", self._log, re.MULTILINE):
            found.append(self._problem(re.sub(r"^\S+: ", "", problem)))
        pattern = r"^LOOPNEST hang block \d+ \d+ \d+ thread (\d+ \d+ \d+) (runs|waits) (\d+)$"
        hang = re.findall(pattern, self._log, re.MULTILINE)
        if hang or status == 3:
            found.append(self._hang(hang, time_limit))
        elif status not in (0, 1) and not found:
            lines = [line for line in self._log.splitlines() if line.strip() and not line.startswith("LOOPNEST")]
            last = " / ".join(lines[-3:]) or "it printed nothing"
            found.append(Finding("crash", self._kernel, f"{self._kernel} ended with status {status}: {last}"))
        return found

    def _problem(self, problem: str) -> Finding:
        kind, _, rest = problem.partition(": ")
        line = re.search(r"in line (\d+)", rest)
        at = int(line[1]) if line else None
        for name, what, advice in BARRIERS:
            if kind.startswith(name):
                return Finding(name, self._kernel, f"line {at}: {what}: {rest}. {advice}", at)
        return Finding("crash", self._kernel, problem, at)

    def _hang(self, threads: Sequence[tuple[str, str, str]], time_limit: float) -> Finding:
        waiting = [int(line) for _, state, line in threads if state == "waits"]
        running = [_sizes(thread) for thread, state, _ in threads if state == "runs"]
        sentence = f"{self._kernel} did not end in {time_limit:g} s"
        if running:
            sentence += f": thread {_name(running[0], self._run.block)} runs on"
        if waiting:
            sentence += f", and never reaches the barrier in line {waiting[0]}, where others wait"
        return Finding("hang", self._kernel, sentence, waiting[0] if waiting else None)

    def _races(self) -> list[Finding]:
        pairs: dict[tuple[object, ...], tuple[str, Access, Access]] = {}
        access = (
            r"^  (?:Previous )?(?:atomic )?(read|write) of size \d+ at (0x[0-9a-f]+) by "
            r"(?:thread (T\d+)|main thread).*?:\n((?:    .*\n)*)"
        )
        for warning in re.findall(r"WARNING: ThreadSanitizer: data race.*?\n={10,}", self._log, re.DOTALL):
            parts = re.findall(access, warning, re.MULTILINE | re.IGNORECASE)
            threads = dict(re.findall(r"Thread (T\d+) 'LOOPNEST block (\d+ \d+ \d+ thread \d+ \d+ \d+)'", warning))
            if len(parts) < 2 or any(thread not in threads for _, _, thread, _ in parts[:2]):
                continue
            later, earlier = (self._access(kind, stack, threads[t]) for kind, _, t, stack in parts[:2])
            where = self._memory(int(parts[0][1], 16))
            lines = tuple(sorted(((later.line, later.within), (earlier.line, earlier.within))))
            key = where, lines, later.block != earlier.block
            if key not in pairs or not (later.writes and earlier.writes):  # prefer a read and a write to two writes
                pairs[key] = where, earlier, later
        in_blocks = [(one, other) for _, one, other in pairs.values() if one.block == other.block]
        return [self._race(where, earlier, later, in_blocks) for where, earlier, later in pairs.values()]

    def _race(self, memory: str, earlier: Access, later: Access, in_blocks: Sequence[tuple[Access, Access]]) -> Finding:
        run = self._run
        if earlier.block != later.block:
            one, other = (_name(access.block, run.grid) for access in (earlier, later))
            sentence = (
                f"two blocks touch {memory}: {earlier} in block {one}, {later} in block {other}. Nothing orders "
                "blocks: let one block alone write an element, or use atomicAdd(), or end the kernel between the two"
            )
            return Finding("blocks", self._kernel, sentence, later.line, memory, (earlier, later))
        one, other = (_name(access.thread, run.block) for access in (earlier, later))
        who = f"Threads {one} and {other} of block {_name(earlier.block, run.grid)}"
        if (earlier.line, earlier.within) == (later.line, later.within):
            does = "writes" if earlier.writes and later.writes else "reads and writes"
            sentence = (
                f"two threads of a block touch {memory} at once: line {earlier.line} {does} the same element in both. "
                f"Give each thread elements of its own, or use atomicAdd(). {who}"
            )
            return Finding("race", self._kernel, sentence, earlier.line, memory, (earlier, later))
        barrier = "__syncthreads()" if math.prod(run.block) > 32 else "__syncwarp()"
        written = [(access.within, access.writes) for pair in in_blocks for access in pair]
        after = self._barriers.missing((earlier.within, earlier.writes), (later.within, later.writes), written)
        sentence = f"two threads of a block touch {memory}: {earlier}, {later}, with no {barrier} between"
        sentence += f": put one after line {after}. {who}" if after else f". {who}"
        return Finding("race", self._kernel, sentence, after, memory, (earlier, later))

    def _access(self, kind: str, stack: str, thread: str) -> Access:
        frames = re.findall(r"#\d+ (?:0x[0-9a-f]+ in )?(.*?) (\S+?):(\d+)(?::\d+)?(?: \(.*)?$", stack, re.MULTILINE)
        lines = [0]
        for function, path, line in frames:
            if "loopnest::on_cpu::Caller" in function:
                break
            if Path(path).name == self._file.name:
                lines.append(int(line))
        own = lines[1:] or lines
        block, _, thread = thread.partition(" thread ")
        return Access(kind.lower() == "write", own[0], own[-1], _sizes(block), _sizes(thread))

    def _memory(self, address: int) -> str:
        """The name of the array at an address: a parameter's, or a shared one."""
        for start, end, name in self._arrays:
            if start <= address < end:
                return name
        pattern = r"^LOOPNEST block \d+ \d+ \d+ shared (0x[0-9a-f]+) (\d+) dynamic (?:(0x[0-9a-f]+)|\S+) (\d+)$"
        for shared, size, dynamic, used in re.findall(pattern, self._log, re.MULTILINE):
            offset = address - int(shared, 16)
            if 0 <= offset < int(size):
                return self._symbol(offset)
            if dynamic and 0 <= address - int(dynamic, 16) < int(used):
                return "the dynamic shared memory"
        beyond = [name for _, end, name in self._arrays if end <= address < end + (1 << 16)]
        return f"the memory beyond {beyond[0]}'s end" if beyond else "memory"

    def _symbol(self, offset: int) -> str:
        """The shared array at this offset of the thread-local memory, where the simulator keeps shared arrays."""
        command = ["nm", "-CS", "--defined-only", str(self._program)]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for start, size, name in re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [bBdDuV] (.*)$", listed, re.MULTILINE):
            if int(start, 16) <= offset < int(start, 16) + int(size, 16):
                return str(name).rpartition("::")[2]
        return "shared memory"

    def _out_of_bounds(self) -> list[Finding]:
        """Accesses outside of an array, from AddressSanitizer and from the compiler's checks of array bounds."""
        found: dict[int, Finding] = {}
        for path, line, what in re.findall(r"^(\S+?):(\d+):\d+: runtime error: (.*)$", self._log, re.MULTILINE):
            if Path(path).name == self._file.name:
                found.setdefault(int(line), Finding("bounds", self._kernel, f"line {line}: {what}", int(line)))
        pattern = r"ERROR: AddressSanitizer: .*?\n(READ|WRITE) of size (\d+) at (0x[0-9a-f]+).*?\n(.*?)\n\n"
        for kind, size, address, stack in re.findall(pattern, self._log, re.DOTALL):
            access = self._access(kind, stack, "0 0 0 thread 0 0 0")
            sentence = f"{access} {size} bytes {self._nearest(int(address, 16))}"
            found.setdefault(access.line, Finding("bounds", self._kernel, sentence, access.line))
        return list(found.values())

    def _nearest(self, address: int) -> str:
        """The nearest array, and how far before its start or after its end an address is."""
        sides = [
            (start - address, f"before {name}'s start") if address < start else (address - end, f"after {name}'s end")
            for start, end, name in self._arrays
        ]
        distance, where = min(sides, default=(1 << 40, ""))
        return f"{distance} bytes {where}" if distance < 1 << 20 else "outside of every array"


def _sizes(numbers: str) -> Sizes:
    x, y, z = map(int, numbers.split())
    return x, y, z


def _name(index: Sizes, sizes: Sizes) -> str:
    """A thread in a block of these sizes, or a block in a grid: with as many numbers as the sizes need."""
    used = 3 if sizes[2] > 1 else 2 if sizes[1] > 1 else 1
    return str(index[0]) if used == 1 else "(" + ", ".join(map(str, index[:used])) + ")"
