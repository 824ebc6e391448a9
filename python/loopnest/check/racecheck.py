"""Which threads of a .cu file's kernels touch the same memory with nothing between them, and which barrier is missing.

The file runs on the CPU, a fiber for each thread, compiled with ThreadSanitizer. What orders two accesses there is what
orders them on a GPU: `__syncthreads()` within a block, `__syncwarp()` within a warp, and nothing between two blocks. So
each pair that it reports is a race on a GPU too, whether or not that GPU's timing shows it. Only what the launch
executes is seen: another size may take another branch.

>>> from loopnest.backends.cpp import csrc
>>> from loopnest.check.racecheck import racecheck
>>> racecheck(csrc() / "cuda" / "matmul_tiled.cu").findings
()
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..backends.cuda_on_cpu import (
    CudaSourceError,
    KernelFunction,
    LaunchSizes,
    Parameter,
    Sizes,
    build,
    constants_of,
    evaluated,
    kernels_of,
    without_comments,
)

SIZES = {"m": 19, "n": 21, "k": 37}
"""What integer parameters are where no others are asked for: no multiples of anything that tiles are. `n` and `m` grow
until the grid has two blocks in each direction that depends on them, or MOST_THREADS."""

MOST_THREADS = 600
"""Of a launch, where the sizes are ours to choose: ThreadSanitizer takes 0.7 ms and 0.8 MB for each."""


@dataclass(frozen=True)
class Access:
    """One side of a race.

    line     of the file, the innermost
    within   the line of the kernel itself, where `line` is in a function that it calls
    """

    writes: bool
    line: int
    within: int
    block: Sizes
    thread: Sizes


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    kind      "race": two threads of a block; "blocks": threads of two blocks; "divergent", "unreached": a barrier that
              not all threads of a block reach, or not the same one; "hang": no end in the time that there is; "bounds":
              an access beside an array; "crash"
    memory    the array's name
    accesses  of a race, the one that came first and the other
    line      what the finding is about: where a barrier is missing after, or the barrier that is not reached
    sentence  all of that in words
    """

    kind: str
    kernel: str
    sentence: str
    line: int | None = None
    memory: str = ""
    accesses: tuple[Access, ...] = ()


@dataclass(frozen=True)
class Racecheck:
    """What was found, and how the kernels were launched. It ran simulated, on the CPU."""

    file: str
    launches: tuple[str, ...]
    findings: tuple[Finding, ...]
    simulated: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
    opt: str = "-O1",
) -> Racecheck:
    """Run the kernels of a .cu file, and say which accesses nothing orders.

    kernel      one of them; all where it is None. Templates of one type are taken for float.
    operation   "matmul": the three pointers have m k, k n and m n elements. Taken from the kernel's name where it is
                None; otherwise each pointer has as many as the integers' product.
    sizes       the integer parameters by name; SIZES has the others
    launch      in place of the comment `// launch: grid=… block=…` above the kernel
    arrays      elements of pointers, as expressions: {"a": "m*k"}; also from a comment `// arrays: a=m*k b=k*n`
    bounds      look for accesses beside arrays, with AddressSanitizer, in place of races
    time_limit  seconds of a run

    Raises CudaSourceError for what cannot be launched as it is, CudaBuildError for what does not compile.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CudaSourceError(f"{path} cannot be read: {error}") from None
    kernels = [k for k in kernels_of(text) if kernel in (None, k.name)]
    if not kernels:
        known = ", ".join(k.name for k in kernels_of(text)) or "none"
        raise CudaSourceError(f"{path.name} has no __global__ function {kernel or ''}; it has: {known}")
    calls = [_call(path.name, text, k, operation, sizes or {}, launch, arrays or {}) for k in kernels]
    program = build(
        text,
        str(path),
        [call.expression for call in calls],
        sanitize="address" if bounds else "thread",
        opt=opt,
        folders=[path.absolute().parent],
        program=True,
    )
    findings: list[Finding] = []
    for call in calls:
        log, status = _run(program, call.script(time_limit), time_limit)
        if "LOOPNEST hang" in log and " waits " not in log:  # begin with the others: where do they wait?
            again, _ = _run(program, "downwards\n" + call.script(min(time_limit, 5)), time_limit)
            log = again if " waits " in again else log
        findings += _findings(path, text, call, log, status, program, time_limit)
    return Racecheck(str(path), tuple(call.described() for call in calls), tuple(findings))


def named(pairs: Sequence[str]) -> dict[str, str]:
    """Of `name=value` each."""
    for pair in pairs:
        if not re.fullmatch(r"\w+=.+", pair):
            raise CudaSourceError(f"{pair!r}, expected name=value, as in n=100")
    return dict(pair.split("=", 1) for pair in pairs)


def named_sizes(pairs: Sequence[str]) -> dict[str, int]:
    """Of `n=100` each."""
    found = named(pairs)
    return {name: evaluated(value, {})[0] for name, value in found.items()}


# --- how a kernel is called


@dataclass(frozen=True)
class _Call:
    kernel: KernelFunction
    expression: str
    grid: Sizes
    block: Sizes
    shared: int
    values: tuple[str, ...]  # one a parameter, as on_cpu.cpp's program reads them
    arrays: tuple[tuple[str, str, int], ...]  # name, type, elements
    sizes: Mapping[str, int]

    def script(self, seconds: float) -> str:
        lines = [f"limit {max(1, int(seconds))}"]
        lines += [f"array {kind} {elements}" for _, kind, elements in self.arrays]
        sizes = " ".join(map(str, (*self.grid, *self.block)))
        lines += [f"launch {self.expression} {sizes} {self.shared} {len(self.values)}", *self.values]
        return "\n".join(lines) + "\n"

    def described(self) -> str:
        grid, block = (" x ".join(map(str, size)) for size in (self.grid, self.block))
        sizes = ", ".join(f"{name} = {size}" for name, size in self.sizes.items())
        return f"{self.expression}, grid {grid}, block {block}" + (f", {sizes}" if sizes else "")


_LETTERS = {"unsigned": "u", "unsigned int": "u", "uint32_t": "u", "bool": "b", "float": "f", "double": "d"}
_LONG = ("long", "long long", "size_t", "int64_t", "uint64_t", "unsigned long", "unsigned long long", "ptrdiff_t")
_ELEMENTS = {"float": "float", "double": "double", **dict.fromkeys(_LONG, "long")}


def _call(
    file: str,
    text: str,
    kernel: KernelFunction,
    operation: str | None,
    asked: Mapping[str, int],
    launch: LaunchSizes | None,
    arrays: Mapping[str, str],
) -> _Call:
    launch = launch or kernel.launch
    if launch is None:
        raise CudaSourceError(
            f"{file}: how {kernel.name} is launched is not known; write it on a line above the kernel, as in\n"
            "    // launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)\n"
            "or say it with --grid and --block"
        )
    matmul = operation == "matmul" or (operation is None and "matmul" in kernel.name)
    integers = [p.name for p in kernel.parameters if not p.pointer and _letter(p) in "iul"]
    has_matrices = any(_matrix_of(p) for p in kernel.parameters)
    names = [*dict.fromkeys([*integers, *(SIZES if has_matrices or matmul else ()), *asked])]
    sizes = {name: asked.get(name, SIZES.get(name, 21)) for name in names}
    constants = constants_of(text)
    for name in ("n", "m"):
        while name in sizes and name not in asked and sizes[name] < 1200 and _few(launch, {**constants, **sizes}, name):
            sizes[name] += 18
    known = {**constants, **sizes}
    grid, block, shared = launch.of(known)
    values: list[str] = []
    made: list[tuple[str, str, int]] = []
    elements = {**_arrays_in(text, kernel), **arrays}
    kinds = {"T": "float"}
    for parameter in kernel.parameters:
        kind, matrix = kinds.get(parameter.type, parameter.type), _matrix_of(parameter)
        shapes = {"a": ("m", "k"), "b": ("k", "n")} if matmul else {}
        if matrix:
            rows, cols = (sizes[axis] for axis in shapes.get(parameter.name, ("m", "n")))
            values.append(f"m {len(made)} {rows} {cols} {cols} 1")
            made.append((parameter.name, _ELEMENTS.get(kinds.get(matrix, matrix), "int"), rows * cols))
        elif parameter.pointer:
            values.append(f"p {len(made)}")
            count = _elements(parameter, kernel, matmul, elements, known, sizes)
            made.append((parameter.name, _ELEMENTS.get(kind, "int"), count))
        elif kind == "bool":
            values.append("b 1")
        elif _letter(parameter) in "iul":
            values.append(f"{_letter(parameter)} {sizes[parameter.name]}")
        elif kind in ("float", "double"):
            values.append(f"{kind[0]} 0.5")
        else:
            raise CudaSourceError(
                f"{file}: {kernel.name}'s {parameter.name} is a {parameter.type}, expected pointers, numbers, or a "
                "Matrix of csrc/cuda/view.hpp"
            )
    expression = f"{kernel.name}<float>" if kernel.template else kernel.name
    return _Call(kernel, expression, grid, block, shared, tuple(values), tuple(made), sizes)


def _letter(parameter: Parameter) -> str:
    """What the program calls a number of this type; a question mark for what is none."""
    if parameter.type in ("int", "int32_t", "short", "unsigned short", "char"):
        return "i"
    return "l" if parameter.type in _LONG else _LETTERS.get(parameter.type, "?")


def _matrix_of(parameter: Parameter) -> str | None:
    """The type of a Matrix parameter's elements."""
    found = re.fullmatch(r"Matrix\s*<\s*(.*?)\s*>", parameter.type)
    return None if found is None or parameter.pointer else found[1]


def _few(launch: LaunchSizes, values: Mapping[str, int], name: str) -> bool:
    """Whether the grid should be larger, and is if this size is."""
    grid, block, _ = launch.of(values)
    depends = [i for i in range(3) if launch.of({**values, name: values[name] + 10_000})[0][i] != grid[i]]
    larger = launch.of({**values, name: values[name] + 18})[0]
    return any(grid[i] < 2 for i in depends) and math.prod((*larger, *block)) <= MOST_THREADS


def _arrays_in(text: str, kernel: KernelFunction) -> dict[str, str]:
    """Of the comment `// arrays: a=m*k b=k*n` before the kernel."""
    before = "\n".join(text.splitlines()[: kernel.line])
    comments = re.findall(r"//\s*arrays:([^\n]*)", before)
    return dict(re.findall(r"(\w+)\s*=\s*([^\s,]+)", comments[-1])) if comments else {}


def _elements(
    parameter: Parameter,
    kernel: KernelFunction,
    matmul: bool,
    elements: Mapping[str, str],
    known: Mapping[str, int],
    sizes: Mapping[str, int],
) -> int:
    if parameter.name in elements:
        return evaluated(elements[parameter.name], known)[0]
    pointers = [p.name for p in kernel.parameters if p.pointer]
    if matmul and len(pointers) == 3:
        return evaluated(("m*k", "k*n", "m*n")[pointers.index(parameter.name)], known)[0]
    product = 1
    for size in sizes.values():
        product *= max(1, size)
    return min(product, 1 << 22)


# --- running it

_ADDR_NO_RANDOMIZE = 0x0040000


def _same_addresses() -> None:
    """Switch off the randomizing of addresses for this process: with as much of it as newer kernels have,
    ThreadSanitizer finds its own memory taken and gives up. Where it is not allowed, nothing changes."""
    libc = ctypes.CDLL(None)
    libc.personality(libc.personality(0xFFFFFFFF) | _ADDR_NO_RANDOMIZE)


def _run(program: Path, script: str, time_limit: float) -> tuple[str, int]:
    """What a program told on its standard error, and its exit status."""
    options = {
        "TSAN_OPTIONS": "history_size=2:suppress_equal_addresses=0:report_signal_unsafe=0:color=never",
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=0:color=never:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "color=never",
    }
    try:
        ran = subprocess.run(
            [str(program)],
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=time_limit + 10,
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | options,
            preexec_fn=_same_addresses if hasattr(ctypes.CDLL(None), "personality") else None,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        told = error.stderr or b""
        return (told.decode(errors="replace") if isinstance(told, bytes) else told), 3
    if "FATAL: ThreadSanitizer: unexpected memory mapping" in ran.stderr:
        raise CudaSourceError(
            "ThreadSanitizer cannot run here: the kernel places memory where it needs its own; as an administrator: "
            "sysctl vm.mmap_rnd_bits=28"
        )
    return ran.stderr, ran.returncode


# --- reading what it told


def _findings(
    file: Path, text: str, call: _Call, log: str, status: int, program: Path, time_limit: float
) -> list[Finding]:
    name = call.kernel.name
    found = [*_races(file, text, call, log, program), *_beside(file, call, log)]
    for problem in re.findall(r"^LOOPNEST problem \S+?: ?(.*)$|^LOOPNEST problem (.*)$", log, re.MULTILINE):
        sentence = "".join(problem)
        found.append(_of_barrier(name, sentence))
    hang = re.findall(r"^LOOPNEST hang block (\d+ \d+ \d+) thread (\d+ \d+ \d+) (runs|waits) (\d+)$", log, re.MULTILINE)
    if hang or status == 3:
        found.append(_hang(call, hang, time_limit))
    elif status not in (0, 1) and not found:
        found.append(Finding("crash", name, f"{name} ended with status {status}: {_last_lines(log)}"))
    return found


def _of_barrier(kernel: str, problem: str) -> Finding:
    kind, _, rest = problem.partition(": ")
    line = re.search(r"in line (\d+)", rest)
    at = int(line[1]) if line else None
    if kind.startswith("unreached"):
        sentence = (
            f"line {at}: not all threads reach this __syncthreads(): {rest}. GPUs before Volta wait for ever; later "
            "ones go on, and what those threads should have written is missing. Let every thread come to the barrier"
        )
        return Finding("unreached", kernel, sentence, at)
    if kind.startswith("divergent"):
        sentence = (
            f"line {at}: __syncthreads() in divergent code: {rest}. All threads of a block have to reach the same "
            "barrier; move it out of the branch"
        )
        return Finding("divergent", kernel, sentence, at)
    return Finding("crash", kernel, problem, at)


def _hang(call: _Call, threads: Sequence[tuple[str, str, str, str]], time_limit: float) -> Finding:
    waiting = [(thread, int(line)) for _, thread, what, line in threads if what == "waits"]
    running = [_sizes([*map(int, thread.split())]) for _, thread, what, _ in threads if what == "runs"]
    kernel = call.kernel.name
    sentence = f"{kernel} did not end in {time_limit:g} s"
    if running:
        sentence += f": thread {_name(running[0], call.block)} runs on"
    if waiting:
        sentence += f", and never reaches the barrier in line {waiting[0][1]}, where others wait"
    return Finding("hang", kernel, sentence, waiting[0][1] if waiting else None)


def _races(file: Path, text: str, call: _Call, log: str, program: Path) -> list[Finding]:
    memory = _Memory(call, log, program)
    pairs: dict[tuple[Any, ...], tuple[str, Access, Access]] = {}
    for report in re.findall(r"WARNING: ThreadSanitizer: data race.*?\n={10,}", log, re.DOTALL):
        parts = re.findall(
            r"^  (?:Previous )?(atomic )?(read|write) of size \d+ at (0x[0-9a-f]+) by (?:thread (T\d+)|main thread).*?:"
            r"\n((?:    .*\n)*)",
            report,
            re.MULTILINE | re.IGNORECASE,
        )
        names = dict(re.findall(r"Thread (T\d+) 'LOOPNEST block (\d+ \d+ \d+ thread \d+ \d+ \d+)'", report))
        if len(parts) < 2 or any(part[3] not in names for part in parts[:2]):
            continue
        later, earlier = (_access(file, part[1], part[4], names[part[3]]) for part in parts[:2])
        where = memory.name(int(parts[0][2], 16))
        between_blocks = later.block != earlier.block
        lines = tuple(sorted(((later.line, later.within), (earlier.line, earlier.within))))
        kinds = tuple(sorted((later.writes, earlier.writes)))
        key = where, lines, between_blocks
        if key not in pairs or not kinds[0]:  # of a line that reads and writes, rather the two
            pairs[key] = where, earlier, later
    barriers = _Barriers(text)
    findings = []
    found = list(pairs.values())
    for where, earlier, later in found:
        if earlier.block != later.block:
            findings.append(_between_blocks(call, where, earlier, later))
            continue
        after = barriers.missing(earlier, later, [pair[1:] for pair in found if pair[1].block == pair[2].block])
        findings.append(_in_a_block(call, where, earlier, later, after))
    return findings


def _access(file: Path, kind: str, stack: str, thread: str) -> Access:
    frames = re.findall(r"#\d+ (?:0x[0-9a-f]+ in )?(.*?) (\S+?):(\d+)(?::\d+)?(?: \(.*)?$", stack, re.MULTILINE)
    own = []
    for function, path, line in frames:
        if "loopnest::on_cpu::Caller" in function:
            break
        if path == str(file) or Path(path).name == file.name:
            own.append(int(line))
    numbers = [int(number) for number in re.findall(r"\d+", thread)]
    innermost, kernel = (own[0], own[-1]) if own else (0, 0)
    return Access(kind.lower() == "write", innermost, kernel, _sizes(numbers[:3]), _sizes(numbers[3:]))


def _sizes(numbers: Sequence[int]) -> Sizes:
    x, y, z = numbers
    return x, y, z


class _Memory:
    """Whose memory an address is: a shared array's, or a parameter's."""

    def __init__(self, call: _Call, log: str, program: Path) -> None:
        self._arrays = [
            (int(start, 16), int(size), call.arrays[int(number)][0])
            for number, start, size in re.findall(r"^LOOPNEST array (\d+) (0x[0-9a-f]+) (\d+)$", log, re.MULTILINE)
        ]
        pattern = r"^LOOPNEST block \d+ \d+ \d+ shared (0x[0-9a-f]+) (\d+) dynamic (\S+) (\d+)$"
        self._shared = [
            (int(shared, 16), int(size), int(dynamic, 16) if dynamic.startswith("0x") else 0, int(used))
            for shared, size, dynamic, used in re.findall(pattern, log, re.MULTILINE)
        ]
        self._program = program

    def name(self, address: int) -> str:
        for start, size, name in self._arrays:
            if start <= address < start + size:
                return name
        for shared, size, dynamic, used in self._shared:
            if shared <= address < shared + size:
                return self._symbol(address - shared)
            if dynamic <= address < dynamic + used:
                return "the dynamic shared memory"
        for start, size, name in self._arrays:
            if start + size <= address < start + size + (1 << 16):
                return f"the memory beyond {name}'s end"
        return "memory"

    def _symbol(self, offset: int) -> str:
        """The shared array at this offset of the thread-local memory."""
        listed = subprocess.run(
            ["nm", "-CS", "--defined-only", str(self._program)], capture_output=True, text=True, check=False
        ).stdout
        for start, size, name in re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [bBdDuV] (.*)$", listed, re.MULTILINE):
            if int(start, 16) <= offset < int(start, 16) + int(size, 16):
                return str(name).rpartition("::")[2]
        return "shared memory"


class _Barriers:
    """The barriers and the braces of a source text."""

    def __init__(self, text: str) -> None:
        self._plain = without_comments(text)
        self._lines = self._plain.splitlines()
        self.lines = [i + 1 for i, line in enumerate(self._lines) if re.search(r"\b__sync(threads|warp)\w*\s*\(", line)]
        self._opens: dict[int, int] = {}  # by the number of a brace, the line on which it opens
        self._closes: dict[int, int] = {}
        self._around: list[list[int]] = []  # for each line the braces that are open where it begins
        open_now: list[int] = []
        number = 0
        for i, line in enumerate(self._lines):
            self._around.append(list(open_now))
            for letter in line:
                if letter == "{":
                    open_now.append(number)
                    self._opens[number] = i + 1
                    number += 1
                elif letter == "}" and open_now:
                    self._closes[open_now.pop()] = i + 1

    def missing(self, earlier: Access, later: Access, all_pairs: Sequence[Any]) -> int | None:
        """The line after which a barrier would order the two, as far as braces tell."""
        first, second = earlier.within, later.within
        if not 0 < first <= len(self._lines) or not 0 < second <= len(self._lines):
            return None
        low, high = min(first, second), max(first, second)
        begin, end = self._loop(low, high)
        between = any(low < line < high for line in self.lines)
        around = any(begin <= line < low or high < line <= end for line in self.lines)
        low_writes = earlier.writes if first == low else later.writes
        if low == high or between or not (around or low_writes or not begin):
            return self._end_of(high, low)  # the loop comes back to the lower line
        # What this and the other pairs write before the line that reads belongs before the barrier too.
        written = [access.within for pair in all_pairs for access in pair if access.writes == low_writes]
        before = [line for line in written if low <= line < high and not any(line < at < high for at in self.lines)]
        return self._end_of(max(before, default=low), high)

    def _loop(self, low: int, high: int) -> tuple[int, int]:
        """The first and the last line of the innermost braces around both that are a loop's, or 0 and 0."""
        both = [brace for brace in self._around[low - 1] if brace in self._around[high - 1]]
        for brace in reversed(both):
            begin = self._opens[brace]
            if re.search(r"\b(for|while|do)\b", self._lines[begin - 1]):
                return begin, self._closes.get(brace, high)
        return 0, 0

    def _end_of(self, line: int, other: int) -> int:
        """The line on which the statement with `line` ends, in the block that holds both lines."""
        mine, theirs = self._around[line - 1], self._around[other - 1]
        common = 0
        while common < min(len(mine), len(theirs)) and mine[common] == theirs[common]:
            common += 1
        if len(mine) > common:
            return self._closes.get(mine[common], line)
        return line


def _name(index: Sizes, sizes: Sizes) -> str:
    """Of a thread in a block of these sizes, or of a block in a grid."""
    used = 3 if sizes[2] > 1 else 2 if sizes[1] > 1 else 1
    return str(index[0]) if used == 1 else "(" + ", ".join(map(str, index[:used])) + ")"


def _does(access: Access) -> str:
    where = f"line {access.line}" + (f" (called in line {access.within})" if access.within != access.line else "")
    return f"{where} {'writes' if access.writes else 'reads'}"


def _in_a_block(call: _Call, memory: str, earlier: Access, later: Access, after: int | None) -> Finding:
    one, other = (_name(access.thread, call.block) for access in (earlier, later))
    who = f"Threads {one} and {other} of block {_name(earlier.block, call.grid)}"
    if (earlier.line, earlier.within) == (later.line, later.within):
        does = "writes" if earlier.writes and later.writes else "reads and writes"
        sentence = (
            f"two threads of a block touch {memory} at once: line {earlier.line} {does} the same element in both. Give "
            f"each thread elements of its own, or use atomicAdd(). {who}"
        )
        return Finding("race", call.kernel.name, sentence, earlier.line, memory, (earlier, later))
    barrier = "__syncthreads()" if call.block[0] * call.block[1] * call.block[2] > 32 else "__syncwarp()"
    sentence = f"two threads of a block touch {memory}: {_does(earlier)}, {_does(later)}, with no {barrier} between"
    sentence += f": put one after line {after}. {who}" if after else f". {who}"
    return Finding("race", call.kernel.name, sentence, after, memory, (earlier, later))


def _between_blocks(call: _Call, memory: str, earlier: Access, later: Access) -> Finding:
    one, other = (_name(access.block, call.grid) for access in (earlier, later))
    sentence = (
        f"two blocks touch {memory}: {_does(earlier)} in block {one}, {_does(later)} in block {other}. Nothing orders "
        "blocks: let one block alone write an element, or use atomicAdd(), or end the kernel between the two"
    )
    return Finding("blocks", call.kernel.name, sentence, later.line, memory, (earlier, later))


def _beside(file: Path, call: _Call, log: str) -> list[Finding]:
    """Accesses beside an array, as AddressSanitizer and the checks of array bounds tell them."""
    found: dict[int, Finding] = {}
    name = call.kernel.name
    for path, line, what in re.findall(r"^(\S+?):(\d+):\d+: runtime error: (.*)$", log, re.MULTILINE):
        if Path(path).name == file.name:
            found.setdefault(int(line), Finding("bounds", name, f"line {line}: {what}", int(line)))
    pattern = r"ERROR: AddressSanitizer: .*?\n(READ|WRITE) of size (\d+) at (0x[0-9a-f]+).*?\n(.*?)\n\n"
    for kind, size, address, stack in re.findall(pattern, log, re.DOTALL):
        access = _access(file, kind, stack, "0 0 0 0 0 0")
        does = "writes" if access.writes else "reads"
        sentence = f"line {access.line} {does} {size} bytes {_beside_which(call, log, int(address, 16))}"
        found.setdefault(access.line, Finding("bounds", name, sentence, access.line))
    return list(found.values())


def _beside_which(call: _Call, log: str, address: int) -> str:
    """The array that is nearest, and on which side of it."""
    near: list[tuple[int, str]] = []
    for number, start, size in re.findall(r"^LOOPNEST array (\d+) (0x[0-9a-f]+) (\d+)$", log, re.MULTILINE):
        first, last = int(start, 16), int(start, 16) + int(size)
        name = call.arrays[int(number)][0]
        near.append(
            (first - address, f"before {name}'s start") if address < first else (address - last, f"after {name}'s end")
        )
    distance, where = min(near, default=(1 << 40, ""))
    return f"{distance} bytes {where}" if distance < 1 << 20 else "outside of every array"


def _last_lines(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith("LOOPNEST")]
    return " / ".join(lines[-3:]) or "it told nothing"


def report(checked: Racecheck) -> list[str]:
    """In words: a line for each finding, and one for how the kernels ran."""
    lines = [f"{finding.kernel}: {finding.sentence}" for finding in checked.findings]
    many = len(checked.findings)
    lines.append(f"{many} finding{'' if many == 1 else 's'}" if many else "no race, no barrier that threads miss")
    lines += [f"simulated: {launch}" for launch in checked.launches]
    return lines
