"""What an inspection returns, as data: instructions, loops, listings. tables.py prints them.

A `View` is the answer about one rung: a few `Listing`s. A listing is text in one language, line by line. In machine
code each line knows its kind and its source line, and the listing knows its hot loop. `msgspec.to_builtins(view)` makes
JSON of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SourceLine = tuple[str, int]
"""A file (below csrc/, or from the package's folder on, where it is the project's own) and a line in it, from 1."""

KINDS = (
    *("fma", "multiply", "add", "divide", "special", "compare", "logic", "convert", "shuffle", "move"),
    *("load", "store", "spill", "prefetch", "barrier", "scalar", "branch", "call", "other"),
)
"""The kinds of instructions. An instruction that computes with an operand from memory has the kind of its computation,
and also counts as a load. A spill reads or writes a register's place on the stack. A GPU's special-function unit does
exponentials; logic is on the bits of floating-point numbers; scalar is on integers: addresses, counters, conditions."""

ARITHMETIC = ("fma", "multiply", "add", "divide")
"""The kinds that are flops."""


@dataclass(frozen=True)
class Instruction:
    """One machine instruction.

    operands     in Intel's syntax: the destination first
    kind         one of KINDS
    bytes        of memory that it reads or writes
    reads        whether it reads memory; writes: whether it writes memory
    stack        whether that memory is a fixed place in its function's stack frame: a spilled register
    vector_bits  of the widest vector register among its operands; 0 for scalar arithmetic
    lanes        elements per arithmetic operation; 1 is scalar, 0 is no floating-point arithmetic
    itemsize     bytes of such an element
    needs        numbers of the vector registers that it reads; gives: the one that it writes
    target       the address that a jump or a call goes to, where the instruction has it
    refers_to    the address that it reads, or takes, relative to its own
    continues    whether the next instruction may follow it
    line         the source line that it comes from, where the file has line tables
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
    needs: tuple[int, ...] = ()
    gives: int | None = None
    target: int | None = None
    refers_to: int | None = None
    continues: bool = True
    line: SourceLine | None = None

    @property
    def flops(self) -> int:
        return self.lanes * (2 if self.kind == "fma" else 1) if self.kind in ARITHMETIC else 0

    @property
    def text(self) -> str:
        return f"{self.mnemonic} {self.operands}".strip()


@dataclass(frozen=True)
class Bound:
    """The limit of a loop whose data lies in L1, from the throughputs of a processor family.

    name      the limit: "FMA units", "loads", "stores", "latency", "instructions", …
    cycles    an iteration, at least
    share     of the family's peak flops in this format that the loop can reach; None for a loop without flops
    sentence  the same in words
    """

    name: str
    cycles: float
    share: float | None
    sentence: str


@dataclass(frozen=True)
class Loop:
    """The instructions of a loop's common path, and their sums.

    counts         instructions by kind; also "loads" and "stores" (all that read or write memory) and "spills" (all
                   that do so in the stack frame), whatever their kind
    flops          and bytes: of one iteration
    vector_bits    of the arithmetic, or of the moves where there is none; 0 if it is scalar
    accumulators   independent chains of arithmetic from one iteration to the next
    latency        cycles of the longest such chain in an iteration; 0 if no iteration waits for the one before
    skipped        further instructions of the loop, which the common path jumps over
    bound          None if the processor is unknown
    """

    instructions: tuple[Instruction, ...]
    counts: Mapping[str, int]
    flops: int
    bytes: int
    vector_bits: int
    itemsize: int
    accumulators: int
    latency: float
    skipped: int = 0
    bound: Bound | None = None

    @property
    def scalar(self) -> bool:
        """Whether it computes, or moves, one element at a time."""
        return self.vector_bits == 0

    @property
    def addresses(self) -> frozenset[int]:
        return frozenset(one.address for one in self.instructions)


@dataclass(frozen=True)
class Line:
    """A line of a listing.

    kind     an instruction's kind, or "label", "comment", ""
    source   the source line that it comes from
    address  of machine code
    note     for a source line: the instructions that it became
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

    title     such as "matmul::multiply_tile<6, 4> · v4 · float32"
    language  asm, llvm, ptx, sass, python, cpp, cuda or text
    loop      its hot loop, if it has one; the loop's lines are `hot`
    notes     sentences: warnings, and how to read it
    facts     further facts by name: registers, occupancy, the compiler
    first     the number of the first line where lines are numbered, as in a source file
    """

    title: str
    language: str
    lines: tuple[Line, ...]
    loop: Loop | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    first: int | None = None


@dataclass(frozen=True)
class View:
    """The answer about one rung.

    isa  the level of the machine code; "" where there is none
    """

    operation: str
    impl: str
    dtype: str
    isa: str
    headline: str
    listings: tuple[Listing, ...]


class InspectError(ValueError):
    """Something cannot be shown; the message says why, and the fix."""
