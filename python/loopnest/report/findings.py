"""What the records show, in sentences. Each sentence is made from records that it names; without them there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..bench.records import Record
from ..bench.tables import highest, rate, unit
from ..layout import explain
from ..output.text import duration, three_digits, times

LINE = 64
"""Bytes of a cache line, unless a machine card says otherwise."""

SUM_BY = "sum, along rows or down columns"
LOOP_ORDERS = "matmul, six loop orders"
STRIDES = "sum, every element or every n-th"
POWERS_OF_TWO = "rows 2ⁿ elements apart or 16 more"
BLOCKS = "matmul, sizes of the block of b (inner x cols)"
OPERANDS = "matmul, operands row-major (N) or column-major (T)"
"""Studies of benchmarks/bench_layout.py."""

WORTH_SAYING = 1.1
"""Times nearer than this factor make no sentence."""


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

COLUMNS = Pair(
    "layout",
    lambda r: r.study == SUM_BY and r.impl.endswith(".column_wise"),
    lambda r: r.study == SUM_BY and r.impl.endswith(".row_wise"),
    lambda r: (r.workload, r.section),
    "Walking a row-major matrix by columns took {factor} as long as by rows",
    "{slow.impl} and {fast.impl}, a sum over {shape} elements. Memory comes in cache lines of {line} bytes. Along"
    " a row all {per_line} elements of a line are used one after another; down a column each element costs a line"
    " of its own: {line} bytes for {size}.",
)
EVERY_16TH = Pair(
    "layout",
    lambda r: r.study == STRIDES and r.case == "every 16th",
    lambda r: r.study == STRIDES and r.case == "every element",
    lambda r: (r.workload, r.section),
    "Summing every 16th element took {factor} as long as summing neighbours",
    "{slow.impl}, {shape} elements both times. 16 elements apart, each element has a cache line to "
    "itself, and no vector can be loaded from one.",
)
ROWS_APART = Pair(
    "layout",
    lambda r: r.study.endswith(POWERS_OF_TWO) and r.case == "2ⁿ",
    lambda r: r.study.endswith(POWERS_OF_TWO) and r.case.startswith("2ⁿ +"),
    lambda r: (r.study, r.workload, r.section),
    "Rows a power of two apart took {factor} as long as rows 16 elements further apart",
    "{slow.operation}, {slow.impl}, {shape}. The lower bits of an address choose its set in a cache, so all "
    "elements of such a column compete for a few sets and evict each other.",
)
VECTORS = Pair(
    "vectorization",
    lambda r: r.suite == "vectorization" and r.impl == SCALAR.get(r.operation),
    lambda r: r.suite == "vectorization" and r.impl == "cpp.simd" and r.operation in SCALAR,
    lambda r: (r.operation, r.workload),
    "Vector instructions made {slow.operation} {factor} as fast",
    "{fast.impl} and {slow.impl}, {slow.workload}. The scalar loop takes one number at a time, and in a sum each "
    "addition waits for the last. The other one takes a full register, and uses several registers at once.",
)
NO_CALLS = Pair(
    "vectorization",
    lambda r: r.suite == "vectorization" and r.operation == "gelu" and r.impl == "cpp.scalar",
    lambda r: r.suite == "vectorization" and r.operation == "gelu" and r.impl == "cpp.simd",
    lambda r: r.workload,
    "GELU without a library call for each element became {factor} as fast",
    "{fast.impl} and {slow.impl}, {slow.workload}. A loop that calls exp cannot be vectorized. Written as "
    "polynomials it can: a vector of elements then takes about as long as one call did.",
)


def findings(records: Sequence[Record], line: int = LINE) -> list[Finding]:
    """The findings, memory layout first.

    line  bytes of a cache line

    >>> findings([])
    []
    """
    layout = [
        *_pair(COLUMNS, records, line),
        *_loop_orders(_largest([r for r in records if r.study == LOOP_ORDERS])),
        *_pair(EVERY_16TH, records, line),
        *_pair(ROWS_APART, records, line),
        *_blocks(_largest([r for r in records if r.study == BLOCKS and " x " in r.case])),
    ]
    return [
        *map(_with_traffic, layout),
        *_pair(VECTORS, records, line),
        *_pair(NO_CALLS, records, line),
        *_ladder([r for r in records if r.ladder and r.study == "matmul"]),
        *_limits(records),
        *_impossible([r for r in records if r.beyond_limit]),
    ]


def _pair(pair: Pair, records: Sequence[Record], line: int) -> Iterator[Finding]:
    rivals = {pair.same(r): r for r in records if pair.fast(r)}
    pairs = [(r, rivals[pair.same(r)]) for r in records if pair.slow(r) and pair.same(r) in rivals]
    compiled = [
        both for both in pairs if both[0].impl.startswith(("cpp", "numba"))
    ]  # interpreters hide what memory costs
    for slow, fast in _apart(max(compiled or pairs, key=lambda both: both[0].best / both[1].best, default=None)):
        size = {"float32": 4, "float64": 8}.get(slow.dtype, 4)
        words = {"slow": slow, "fast": fast, "factor": times(slow.best / fast.best), "shape": _shape(slow)}
        words |= {"line": line, "size": size, "per_line": line // size}
        yield Finding(pair.claim.format(**words), pair.reason.format(**words), pair.about, (slow, fast))


def _with_traffic(finding: Finding) -> Finding:
    """With what the cache simulator counted for its two records, if it ran."""
    simulated = explain.between(*finding.records)
    return dataclasses.replace(finding, reason=f"{finding.reason} {simulated}") if simulated else finding


def _loop_orders(same: Sequence[Record]) -> Iterator[Finding]:
    for slow, fast in _extremes(same):
        loops = (f"{r.case}'s innermost loop, over {r.case[-1]}, {INNERMOST[r.case[-1]]}." for r in (slow, fast))
        yield Finding(
            f"Of the six orders of matmul's three loops, {slow.case} took {times(slow.best / fast.best)} as long as "
            f"{fast.case}",
            f"Matrices of {_shape(slow)}, the same multiplications and additions. {' '.join(loops)}",
            "layout",
            (slow, fast),
        )


INNERMOST = {
    "i": "goes down a column of a and of c: two new cache lines for each product",
    "j": "goes along a row of b and of c: neighbours in memory, a whole vector of them at once",
    "k": "goes along a row of a, but down a column of b, and adds into one sum, each addition waiting for the last",
}


def _blocks(swept: Sequence[Record]) -> Iterator[Finding]:
    for slow, fast in _extremes(swept):
        yield Finding(
            f"The worst block of b ({slow.case}) took {times(slow.best / fast.best)} as long as the best ({fast.case})",
            f"cpp.blocked, {_shape(slow)}. A block has to stay in a cache while all rows of a pass over it, and be "
            "large enough that the cost of starting on it disappears.",
            "layout",
            (slow, fast),
        )


def _ladder(records: Sequence[Record]) -> Iterator[Finding]:
    top = highest(records) if records else []
    if len(top) > 1:
        in_unit = unit(top)
        slow, fast = min(top, key=lambda r: rate(r, in_unit)), max(top, key=lambda r: rate(r, in_unit))
        yield Finding(
            f"From {slow.impl} to {fast.impl} {slow.study} becomes {times(rate(fast, in_unit) / rate(slow, in_unit))} "
            "as fast",
            f"{three_digits(rate(slow, in_unit))} and {three_digits(rate(fast, in_unit))} {in_unit}, each on the "
            f"largest matrices that its time allows: {slow.workload} and {fast.workload}.",
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
                f"{duration(best.limit.seconds)} on {best.limit.threads} core{'s' if best.limit.threads > 1 else ''}.",
                "roofline",
                (best,),
            )


def _impossible(wrong: Sequence[Record]) -> Iterator[Finding]:
    if wrong:
        which = ", ".join(dict.fromkeys(f"{r.operation} {r.impl}" for r in wrong[:3]))
        yield Finding(
            f"{len(wrong)} result{'s' if len(wrong) > 1 else ''} cannot be true: a time that beats the machine's limit",
            f"{which}{', …' if len(wrong) > 3 else ''}. The limit or the count of flops or bytes is wrong; these have "
            "a question mark in place of their per cent. `loopnest machine --refresh` measures the limits again.",
            "table",
            tuple(wrong),
        )


# --- which records a sentence compares


def _extremes(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The slowest and the fastest, if they differ."""
    if not records:
        return []
    return _apart((max(records, key=lambda r: r.best), min(records, key=lambda r: r.best)))


def _apart(both: tuple[Record, Record] | None) -> list[tuple[Record, Record]]:
    """The two, if the first is slower than the second by more than WORTH_SAYING."""
    return [both] if both and both[0].best > WORTH_SAYING * both[1].best else []


def _largest(records: Sequence[Record]) -> list[Record]:
    """The records on the largest workload among those that most rows ran."""
    by_workload: dict[str, list[Record]] = {}
    for record in records:
        by_workload.setdefault(record.workload, []).append(record)
    return max(by_workload.values(), key=lambda same: (len(same), same[0].work), default=[])


def _shape(record: Record) -> str:
    """A workload's shape as one reads it: 512 × 512, or 4 × 1024 × 16."""
    sizes = list(record.shape.values())
    return " × ".join(map(str, sizes[:2] if len(set(sizes)) == 1 and len(sizes) > 2 else sizes))
