"""The findings in the log of a kernel's run: the program's own lines, and the reports of a sanitizer."""

from __future__ import annotations

import math
import operator
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.cuda_source import Sizes, without_comments

BARRIERS = {
    "unreached": (
        "not all threads reach this __syncthreads()",
        "GPUs before Volta wait for ever, later ones go on without the missing threads. Let every thread reach it",
    ),
    "divergent": (
        "__syncthreads() in divergent code",
        "All threads of a block must reach the same barrier; move it out of the branch",
    ),
}
"""Errors at a barrier, by the simulator's word: the error, and the fix."""


@dataclass(frozen=True)
class Access:
    """One access of a race. `within` is the line of the kernel itself, where `line` is in a function that it calls."""

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
              that only some threads of a block reach; "hang": no end within the time limit; "bounds": an index outside
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
class Run:
    """One launch of a kernel by the program.

    name    the kernel's name expression, such as "tiled<float>"
    sizes   the integer parameters
    arrays  the names of the pointers' arrays, in the order of the program's numbers
    script  the program's standard input
    """

    kernel: str
    name: str
    grid: Sizes
    block: Sizes
    sizes: Mapping[str, int]
    arrays: tuple[str, ...]
    script: str

    def __str__(self) -> str:
        grid, block = (" x ".join(map(str, size)) for size in (self.grid, self.block))
        return ", ".join([f"{self.name}, grid {grid}, block {block}", *(f"{n} = {x}" for n, x in self.sizes.items())])


LineAccess = tuple[int, bool]
"""The line of an access in the kernel, and whether it writes."""


class Barriers:
    """The barriers and the braces of a source text: where one is missing, as far as lines and braces show."""

    def __init__(self, text: str) -> None:
        self._lines = without_comments(text).splitlines()
        barrier = re.compile(r"\b__sync(threads|warp)\w*\s*\(")
        self._barriers = [n for n, line in enumerate(self._lines, 1) if barrier.search(line)]
        self._blocks: list[tuple[int, int]] = []  # the first and the last line of each block in braces
        opened: list[int] = []
        for number, line in enumerate(self._lines, 1):
            for brace in re.findall(r"[{}]", line):
                if brace == "{":
                    opened.append(number)
                elif opened:
                    self._blocks.append((opened.pop(), number))

    def missing(self, earlier: LineAccess, later: LineAccess, in_races: Sequence[LineAccess]) -> int | None:
        """The line after which a barrier would order two accesses; None where the lines are not known.

        in_races  all accesses of the kernel that race with another one in their block
        """
        (low, low_writes), (high, _) = sorted((earlier, later), key=lambda access: access[0])
        if not 0 < low <= high <= len(self._lines):
            return None
        begin, end = self._loop(low, high)
        between = any(low < line < high for line in self._barriers)
        around = any(begin <= line < low or high < line <= end for line in self._barriers)
        if low == high or between or not (around or low_writes or not begin):
            return self._end_of(high, low)  # the race is between this iteration and the next, at the lower line
        # Other accesses of the same kind before the upper line belong before the barrier, too.
        before = [line for line, writes in in_races if writes == low_writes and low <= line < high]
        before = [line for line in before if not any(line < barrier < high for barrier in self._barriers)]
        return self._end_of(max(before, default=low), high)

    def _loop(self, low: int, high: int) -> tuple[int, int]:
        """The first and the last line of the innermost loop around both lines, or 0 and 0."""
        around = [(begin, end) for begin, end in self._blocks if begin < low and high <= end]
        loops = [block for block in around if re.search(r"\b(for|while|do)\b", self._lines[block[0] - 1])]
        return max(loops, default=(0, 0))

    def _end_of(self, line: int, other: int) -> int:
        """The last line of the statement with `line`, in the innermost block that holds both lines."""
        own = [(begin, end) for begin, end in self._blocks if begin < line <= end and not begin < other <= end]
        return min(own, default=(line, line))[1]


class Report:
    """A run's log, in which the program's own lines begin with LOOPNEST."""

    def __init__(self, file: Path, text: str, run: Run, log: str, program: Path) -> None:
        self._file, self._run, self._log, self._program = file, run, log, program
        self._kernel = run.kernel
        self._barriers = Barriers(text)
        self._arrays = [
            (int(start, 16), int(start, 16) + int(size), run.arrays[int(number)])
            for number, start, size in re.findall(r"^LOOPNEST array (\d+) (0x[0-9a-f]+) (\d+)$", log, re.MULTILINE)
        ]

    def findings(self, status: int, time_limit: float) -> list[Finding]:
        found = [*self._races(), *self._out_of_bounds()]
        for problem in re.findall(r"^LOOPNEST problem (?:\S+: )?(.*)$", self._log, re.MULTILINE):
            kind, _, rest = problem.partition(": ")
            line = re.search(r"in line (\d+)", rest)
            at, name = int(line[1]) if line else None, kind.partition(" ")[0]
            if name in BARRIERS:
                what, advice = BARRIERS[name]
                found.append(Finding(name, self._kernel, f"line {at}: {what}: {rest}. {advice}", at))
            else:
                found.append(Finding("crash", self._kernel, problem, at))
        pattern = r"^LOOPNEST hang block \d+ \d+ \d+ thread (\d+ \d+ \d+) (runs|waits) (\d+)$"
        threads = re.findall(pattern, self._log, re.MULTILINE)
        if threads or status == 3:
            waiting = [int(line) for _, state, line in threads if state == "waits"]
            running = [_sizes(thread) for thread, state, _ in threads if state == "runs"]
            sentence = f"{self._kernel} did not end in {time_limit:g} s"
            if running:
                sentence += f": thread {_name(running[0], self._run.block)} runs on"
            if waiting:
                sentence += f", and never reaches the barrier in line {waiting[0]}, where others wait"
            found.append(Finding("hang", self._kernel, sentence, waiting[0] if waiting else None))
        elif status not in (0, 1) and not found:
            lines = [line for line in self._log.splitlines() if line.strip() and not line.startswith("LOOPNEST")]
            last = " / ".join(lines[-3:]) or "it printed nothing"
            found.append(Finding("crash", self._kernel, f"{self._kernel} ended with status {status}: {last}"))
        return found

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
        accesses, grid, block, kind = (earlier, later), self._run.grid, self._run.block, "race"
        line: int | None = later.line
        threads = " and ".join(_name(access.thread, block) for access in accesses)
        who = f"Threads {threads} of block {_name(earlier.block, grid)}"
        if earlier.block != later.block:
            one, other = (_name(access.block, grid) for access in accesses)
            kind = "blocks"
            sentence = (
                f"two blocks touch {memory}: {earlier} in block {one}, {later} in block {other}. Nothing orders "
                "blocks: let one block alone write an element, or use atomicAdd(), or end the kernel between the two"
            )
        elif (earlier.line, earlier.within) == (later.line, later.within):
            does = "writes" if earlier.writes and later.writes else "reads and writes"
            sentence = (
                f"two threads of a block touch {memory} at once: line {earlier.line} {does} the same element in both. "
                f"Give each thread elements of its own, or use atomicAdd(). {who}"
            )
        else:
            barrier = "__syncthreads()" if math.prod(block) > 32 else "__syncwarp()"
            # Two lines of a function that the kernel calls once need the barrier there.
            at = operator.attrgetter("line" if earlier.within == later.within else "within")
            touched = [(at(access), access.writes) for both in in_blocks for access in both]
            line = self._barriers.missing((at(earlier), earlier.writes), (at(later), later.writes), touched)
            where = f": put one after line {line}" if line else ""
            sentence = (
                f"two threads of a block touch {memory}: {earlier}, {later}, with no {barrier} between{where}. {who}"
            )
        return Finding(kind, self._kernel, sentence, line, memory, accesses)

    def _access(self, kind: str, stack: str, thread: str) -> Access:
        frames = re.findall(r"#\d+ (?:0x[0-9a-f]+ in )?(.*?) (\S+?):(\d+)(?::\d+)?(?: \(.*)?$", stack, re.MULTILINE)
        lines = [0]
        for function, path, line in frames:
            if "loopnest::on_cpu::Caller" in function:
                break
            if self._is_own(path):
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
            if 0 <= offset < int(size):  # thread-local memory, where the simulator keeps shared arrays
                command = ["nm", "-CS", "--defined-only", str(self._program)]
                listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
                for start, length, name in re.findall(r"^(\w+) (\w+) [bBdDuV] (.*)$", listed, re.MULTILINE):
                    if int(start, 16) <= offset < int(start, 16) + int(length, 16):
                        return str(name).rpartition("::")[2]
                return "shared memory"
            if dynamic and 0 <= address - int(dynamic, 16) < int(used):
                return "the dynamic shared memory"
        return "memory"

    def _out_of_bounds(self) -> list[Finding]:
        """Indices outside of an array of known size, from the compiler's checks, once a line."""
        pattern = r"^(\S+?):(\d+):\d+: runtime error: (.*)$"
        found = {int(n): what for path, n, what in re.findall(pattern, self._log, re.MULTILINE) if self._is_own(path)}
        return [Finding("bounds", self._kernel, f"line {line}: {what}", line) for line, what in found.items()]

    def _is_own(self, path: str) -> bool:
        return Path(path).name == self._file.name


def _sizes(numbers: str) -> Sizes:
    x, y, z = map(int, numbers.split())
    return x, y, z


def _name(index: Sizes, sizes: Sizes) -> str:
    """A thread in a block of these sizes, or a block in a grid: with as many numbers as the sizes need."""
    used = 3 if sizes[2] > 1 else 2 if sizes[1] > 1 else 1
    return str(index[0]) if used == 1 else "(" + ", ".join(map(str, index[:used])) + ")"
