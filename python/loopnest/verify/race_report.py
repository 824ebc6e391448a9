"""The findings in the log of a kernel's run: the program's own lines, and the reports of a sanitizer."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..backends.cuda_source import Sizes
from .barriers import Barriers

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
        name = kind.partition(" ")[0]
        if name not in BARRIERS:
            return Finding("crash", self._kernel, problem, at)
        what, advice = BARRIERS[name]
        return Finding(name, self._kernel, f"line {at}: {what}: {rest}. {advice}", at)

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
        accesses, grid, block = (earlier, later), self._run.grid, self._run.block
        if earlier.block != later.block:
            one, other = (_name(access.block, grid) for access in accesses)
            sentence = (
                f"two blocks touch {memory}: {earlier} in block {one}, {later} in block {other}. Nothing orders "
                "blocks: let one block alone write an element, or use atomicAdd(), or end the kernel between the two"
            )
            return Finding("blocks", self._kernel, sentence, later.line, memory, accesses)
        threads = " and ".join(_name(access.thread, block) for access in accesses)
        who = f"Threads {threads} of block {_name(earlier.block, grid)}"
        if (earlier.line, earlier.within) == (later.line, later.within):
            does = "writes" if earlier.writes and later.writes else "reads and writes"
            sentence = (
                f"two threads of a block touch {memory} at once: line {earlier.line} {does} the same element in both. "
                f"Give each thread elements of its own, or use atomicAdd(). {who}"
            )
            return Finding("race", self._kernel, sentence, earlier.line, memory, accesses)
        barrier = "__syncthreads()" if math.prod(block) > 32 else "__syncwarp()"
        touched = [(access.within, access.writes) for both in in_blocks for access in both]
        after = self._barriers.missing((earlier.within, earlier.writes), (later.within, later.writes), touched)
        where = f": put one after line {after}" if after else ""
        sentence = f"two threads of a block touch {memory}: {earlier}, {later}, with no {barrier} between{where}. {who}"
        return Finding("race", self._kernel, sentence, after, memory, accesses)

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
            access, at = self._access(kind, stack, "0 0 0 thread 0 0 0"), int(address, 16)
            distances = [
                (start - at, f"before {name}'s start") if at < start else (at - end, f"after {name}'s end")
                for start, end, name in self._arrays
            ]
            distance, where = min(distances, default=(1 << 40, ""))
            nearest = f"{distance} bytes {where}" if distance < 1 << 20 else "outside of every array"
            sentence = f"{access} {size} bytes {nearest}"
            found.setdefault(access.line, Finding("bounds", self._kernel, sentence, access.line))
        return list(found.values())


def _sizes(numbers: str) -> Sizes:
    x, y, z = map(int, numbers.split())
    return x, y, z


def _name(index: Sizes, sizes: Sizes) -> str:
    """A thread in a block of these sizes, or a block in a grid: with as many numbers as the sizes need."""
    used = 3 if sizes[2] > 1 else 2 if sizes[1] > 1 else 1
    return str(index[0]) if used == 1 else "(" + ", ".join(map(str, index[:used])) + ")"
