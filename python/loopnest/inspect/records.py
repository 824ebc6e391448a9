"""What inspecting a rung gives, as data: instructions, loops, listings. Tables, text and HTML are made from these.

A `View` is what was asked of one rung: a few `Listing`s. A listing is text in one language, line by line; of machine
code each line knows what kind of instruction it is and which source line it came from, and the listing knows its hot
loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SourceLine = tuple[str, int]
"""A file, below csrc/ where it is the project's own, and a line in it, from 1."""

KINDS = {
    "fma": "multiply and add in one instruction: 2 flops an element",
    "multiply": "multiply",
    "add": "add or subtract",
    "divide": "divide, or take a square root",
    "special": "an exponential, a logarithm or a sine by a GPU's unit for special functions",
    "compare": "minimum, maximum, comparison",
    "logic": "bits of floating-point numbers: signs, exponents, masks; integer arithmetic on vectors",
    "convert": "from one format of numbers to another",
    "shuffle": "moves elements between lanes, or copies one to all",
    "move": "copies a vector register",
    "load": "reads memory into a register",
    "store": "writes a register to memory",
    "spill": "reads or writes a register's place on the stack: there were too few registers",
    "prefetch": "asks for a cache line",
    "barrier": "waits for the block's other threads, or orders their memory",
    "scalar": "integers: addresses, counters, conditions",
    "branch": "jumps",
    "call": "calls a function, or returns",
    "other": "none of these",
}
"""The kinds of instructions. An instruction that computes with an operand from memory has the kind of what it computes,
and counts as a load besides."""

ARITHMETIC = ("fma", "multiply", "add", "divide")
"""The kinds that are flops."""

Language = Literal["asm", "llvm", "ptx", "sass", "python", "cpp", "cuda", "text"]


@dataclass(frozen=True)
class Instruction:
    """One machine instruction.

    operands     as they are written in Intel's syntax: the destination first
    kind         one of KINDS
    bytes        of memory that it reads or writes
    reads        whether it reads memory; writes: whether it writes memory
    stack        whether that memory is its function's own, at a fixed place: a spilled register
    vector_bits  of the widest vector register that it names; 0 where there is none
    lanes        elements that its arithmetic works on: 1 is scalar; 0 where it is no floating-point arithmetic
    itemsize     bytes of such an element
    line         the source line that it comes from, where the file knows
    """

    address: int
    size: int
    mnemonic: str
    operands: str
    kind: str
    bytes: int = 0
    reads: bool = False
    writes: bool = False
    stack: bool = False
    vector_bits: int = 0
    lanes: int = 0
    itemsize: int = 0
    line: SourceLine | None = None

    @property
    def flops(self) -> int:
        return self.lanes * (2 if self.kind == "fma" else 1) if self.kind in ARITHMETIC else 0

    @property
    def text(self) -> str:
        return f"{self.mnemonic} {self.operands}".strip()


@dataclass(frozen=True)
class Bound:
    """What limits a loop whose data lies in L1, by the throughputs of a processor family.

    name      what is the limit: "FMA units", "loads", "stores", "latency", "instructions", …
    cycles    an iteration, at the least
    share     of the family's peak flops in this format that the loop can reach; None of a loop without flops
    sentence  the same in words
    cycles_by what each resource takes, an iteration
    family    whose figures they are: "Zen 4"
    """

    name: str
    cycles: float
    share: float | None
    sentence: str
    cycles_by: Mapping[str, float]
    family: str


@dataclass(frozen=True)
class Loop:
    """The instructions of a loop's usual iteration, and what they add up to.

    counts         how many instructions of each kind; besides: "loads" and "stores", all that read or write memory, and
                   "spills", those at the stack, whatever their kind
    flops          and bytes: of one iteration
    vector_bits    of the arithmetic; of the moves where there is none; 0 where it is scalar
    accumulators   independent chains of arithmetic that go from one iteration to the next
    latency        cycles of the longest such chain in an iteration; 0 where no iteration waits for the one before
    beside         further instructions of the loop, which usual iterations jump over
    calls          what it calls in every iteration: what is done there is not counted
    seen           the share of the time that was spent in it; None where nobody looked
    bound          None where nothing is known of the processor
    """

    instructions: tuple[Instruction, ...]
    counts: Mapping[str, int]
    flops: int
    bytes: int
    vector_bits: int
    itemsize: int
    accumulators: int
    latency: float
    beside: int = 0
    calls: tuple[str, ...] = ()
    seen: float | None = None
    bound: Bound | None = None

    @property
    def scalar(self) -> bool:
        """Whether its arithmetic, or what it moves, is one element at a time."""
        return self.vector_bits == 0

    @property
    def first(self) -> int:
        return self.instructions[0].address

    @property
    def last(self) -> int:
        return self.instructions[-1].address


@dataclass(frozen=True)
class Line:
    """A line of a listing.

    kind     an instruction's, or "label", "comment", ""
    source   the source line that it comes from
    address  of machine code
    note     what there is to say to it: of a source line, what became of it
    """

    text: str
    kind: str = ""
    source: SourceLine | None = None
    address: int | None = None
    hot: bool = False
    note: str = ""


@dataclass(frozen=True)
class Listing:
    """Text in one language.

    title  what it is, as in "v4 float32: matmul::multiply_tile<6, 4>"
    loop   its hot loop, where it has one; the lines of that are `hot`
    notes  sentences, such as warnings and what to read into it
    facts  by name, what there is to tell: registers, occupancy, the compiler
    first  the number of the first line where lines have numbers, as a source's have
    """

    title: str
    language: Language
    lines: tuple[Line, ...]
    loop: Loop | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    first: int | None = None

    @property
    def hot(self) -> range | None:
        """From the first to the last line of the hot loop, as indices into `lines`."""
        at = [n for n, line in enumerate(self.lines) if line.hot]
        return range(at[0], at[-1] + 1) if at else None

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def source_lines(self) -> tuple[SourceLine | None, ...]:
        return tuple(line.source for line in self.lines)


@dataclass(frozen=True)
class Measured:
    """How fast the rung was, here and now, on a workload that suits its hot loop, with one thread.

    share    of the machine's limit at this ISA level; limit: which it is, as in "peak flops"
    """

    workload: str
    seconds: float
    flops_per_second: float
    bytes_per_second: float
    share: float
    limit: str
    isa: str


@dataclass(frozen=True)
class View:
    """What was asked of one rung.

    isa  the level of the machine code; "" where there is none
    """

    operation: str
    impl: str
    dtype: str
    isa: str
    headline: str
    listings: tuple[Listing, ...]
    measured: Measured | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = to_json(self)
        return told


def to_json(record: Any) -> Any:
    """A record, with all that is in it, as what the json module writes."""
    return dataclasses.asdict(record)


class InspectError(ValueError):
    """What was asked for cannot be shown; the message says why, and the fix."""
