"""What the records show, in sentences. Each sentence is made from records that it names; without them there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..bench import explain
from ..bench.choices import FASTER, ends, rate, unit
from ..bench.records import Record
from ..output.text import counted, duration, three_digits, times

LINE = 64
"""Bytes of a cache line, unless a machine card says otherwise."""

SUM_BY = "sum, along rows or down columns"
LOOP_ORDERS = "matmul, six loop orders"
STRIDES = "sum, every element or every n-th"
POWERS_OF_TWO = "rows 2ⁿ elements apart or 16 more"
BLOCKS = "matmul, sizes of the block of b (inner x cols)"
OPERANDS = "matmul, operands row-major (N) or column-major (T)"
"""Studies of benchmarks/bench_layout.py."""


@dataclass(frozen=True)
class Finding:
    """A sentence with its figure, the reason, and the records that it is made from.

    about  the id of the part of the page that shows more
    """

    claim: str
    reason: str
    about: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Pair:
    """A sentence about two records that differ in one thing. Of all such pairs, the one that differs most is named.

    slow, fast  which records can be either
    same        what the two have in common
    claim, reason  templates: the records are {slow} and {fast}; {size} and {line} are the bytes of an element and of a
                   cache line; {per_line} elements fit into a line
    """

    about: str
    slow: Callable[[Record], bool]
    fast: Callable[[Record], bool]
    same: Callable[[Record], object]
    claim: str
    reason: str


SCALAR = {"add": "cpp.scalar", "dot": "cpp.one_accumulator", "sum": "cpp.row_wise"}

INNERMOST = {
    "i": "goes down a column of a and of c: two new cache lines for each product",
    "j": "goes along a row of b and of c: neighbours in memory, a whole vector of them at once",
    "k": "goes along a row of a, but down a column of b, and adds into one sum, each addition waiting for the last",
}

PAIRS = (
    Pair(
        "layout",
        lambda r: r.study == SUM_BY and r.impl.endswith(".column_wise"),
        lambda r: r.study == SUM_BY and r.impl.endswith(".row_wise"),
        lambda r: (r.workload, r.section),
        "Walking a row-major matrix by columns took {factor} as long as by rows",
        "{slow.impl} and {fast.impl}, a sum over {shape} elements. Memory comes in cache lines of {line} bytes. Along"
        " a row all {per_line} elements of a line are used one after another; down a column each element costs a line"
        " of its own: {line} bytes for {size}.",
    ),
    Pair(
        "layout",
        lambda r: r.study == LOOP_ORDERS,
        lambda r: r.study == LOOP_ORDERS,
        lambda r: r.workload,
        "Of the six orders of matmul's three loops, {slow.case} took {factor} as long as {fast.case}",
        "Matrices of {shape}, the same multiplications and additions. {slow_loop} {fast_loop}",
    ),
    Pair(
        "layout",
        lambda r: r.study.endswith(POWERS_OF_TWO) and r.case == "2ⁿ",
        lambda r: r.study.endswith(POWERS_OF_TWO) and r.case.startswith("2ⁿ +"),
        lambda r: (r.study, r.workload, r.section),
        "Rows a power of two apart took {factor} as long as rows 16 elements further apart",
        "{slow.operation}, {slow.impl}, {shape}. The lower bits of an address choose its set in a cache, so all "
        "elements of such a column compete for a few sets and evict each other.",
    ),
    Pair(
        "vectorization",
        lambda r: r.suite == "vectorization" and r.impl == SCALAR.get(r.operation),
        lambda r: r.suite == "vectorization" and r.impl == "cpp.simd" and r.operation in SCALAR,
        lambda r: (r.operation, r.workload),
        "Vector instructions made {slow.operation} {factor} as fast",
        "{fast.impl} and {slow.impl}, {slow.workload}. The scalar loop takes one number at a time, and in a sum each "
        "addition waits for the last. The other one takes a full register, and uses several registers at once.",
    ),
)


def findings(records: Sequence[Record], line: int = LINE) -> list[Finding]:
    """The findings, memory layout first.

    line  bytes of a cache line

    >>> findings([])
    []
    """
    found = [finding for pair in PAIRS for finding in _pair(pair, records, line)]
    found += _ladder([r for r in records if r.ladder and r.study == "matmul"])
    return [*found, *_limits(records)]


def _pair(pair: Pair, records: Sequence[Record], line: int) -> Iterator[Finding]:
    compiled = [r for r in records if r.impl.startswith(("cpp", "numba"))]  # interpreters hide what memory costs
    for among in (compiled, records):
        pairs = [
            (s, f) for s in filter(pair.slow, among) for f in filter(pair.fast, among) if pair.same(s) == pair.same(f)
        ]
        if pairs:
            break
    slow, fast = max(pairs, key=lambda both: both[0].best / both[1].best, default=(None, None))
    if not slow or not fast or slow.best < FASTER * fast.best:
        return
    size = {"float64": 8}.get(slow.dtype, 4)
    words = {"slow": slow, "fast": fast, "factor": times(slow.best / fast.best), "shape": _shape(slow)}
    words |= {"line": line, "size": size, "per_line": line // size}
    if slow.study == LOOP_ORDERS:
        for name, r in (("slow_loop", slow), ("fast_loop", fast)):
            words[name] = f"{r.case}'s innermost loop, over {r.case[-1]}, {INNERMOST[r.case[-1]]}."
    reason = pair.reason.format(**words)
    if pair.about == "layout":
        reason = f"{reason} {explain.between(slow, fast)}".rstrip()
    yield Finding(pair.claim.format(**words), reason, pair.about, (slow, fast))


def _ladder(records: Sequence[Record]) -> Iterator[Finding]:
    if len({r.impl for r in records}) > 1:
        (slow, fast), in_unit = ends(records), unit(records)
        yield Finding(
            f"From {slow.impl} to {fast.impl} {slow.study} becomes {times(slow.best / fast.best)} as fast",
            f"{three_digits(rate(slow, in_unit))} and {three_digits(rate(fast, in_unit))} {in_unit}, both on "
            f"{slow.workload}.",
            "ladders",
            (slow, fast),
        )


def _limits(records: Sequence[Record]) -> Iterator[Finding]:
    for operation, suite in (("matmul", "matmul"), ("gelu", "gelu"), ("mlp_forward", "mlp")):
        able = [r for r in records if (r.operation, r.suite) == (operation, suite) and r.limit and not r.beyond_limit]
        best = max(able, key=lambda r: r.percent or 0.0, default=None)
        if best and best.limit:
            work = "the arithmetic" if best.limit.by == "flops" else f"moving its bytes ({best.limit.level})"
            yield Finding(
                f"The fastest {operation} reached {best.percent:.0f} % of the machine's limit",
                f"{best.impl}, {best.workload}: {duration(best.best)}, where {work} alone takes "
                f"{duration(best.limit.seconds)} on {counted(best.limit.threads, 'core')}.",
                "roofline",
                (best,),
            )


def _shape(record: Record) -> str:
    """A workload's shape as one reads it: 512 × 512, or 4 × 1024 × 16."""
    sizes = list(record.shape.values())
    return " × ".join(map(str, sizes[:2] if len(set(sizes)) == 1 and len(sizes) > 2 else sizes))
