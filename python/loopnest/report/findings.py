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


def findings(records: Sequence[Record], line: int = LINE) -> list[Finding]:
    """The findings, memory layout first.

    line  bytes of a cache line

    >>> findings([])
    []
    """
    layout = [
        *_columns([r for r in records if r.study == SUM_BY], line),
        *_loop_orders(_largest([r for r in records if r.study == LOOP_ORDERS])),
        *_strides([r for r in records if r.study == STRIDES]),
        *_powers_of_two([r for r in records if r.study.endswith(POWERS_OF_TWO)]),
        *_blocks(_largest([r for r in records if r.study == BLOCKS and " x " in r.case])),
    ]
    return [
        *map(_with_traffic, layout),
        *_vectors([r for r in records if r.suite == "vectorization"]),
        *_ladder([r for r in records if r.ladder and r.study == "matmul"]),
        *_limits(records),
        *_impossible([r for r in records if r.beyond_limit]),
    ]


def _with_traffic(finding: Finding) -> Finding:
    """With what the cache simulator counted for its two records, if it ran."""
    simulated = explain.between(*finding.records)
    return dataclasses.replace(finding, reason=f"{finding.reason} {simulated}") if simulated else finding


def _columns(records: Sequence[Record], line: int) -> Iterator[Finding]:
    for slow, fast in _widest(
        records,
        lambda r: r.impl.endswith(".column_wise"),
        lambda r: r.impl.endswith(".row_wise"),
        lambda r: (r.workload, r.section),
    ):
        size = {"float32": 4, "float64": 8}.get(slow.dtype, 4)
        yield Finding(
            f"Walking a row-major matrix by columns took {times(slow.best / fast.best)} as long as by rows",
            f"{slow.impl} and {fast.impl}, a sum over {_shape(slow)} elements. Memory comes in cache lines of {line} "
            f"bytes. Along a row all {line // size} elements of a line are used one after another; down a column each "
            f"element costs a line of its own: {line} bytes for {size}.",
            "layout",
            (slow, fast),
        )


def _loop_orders(same: Sequence[Record]) -> Iterator[Finding]:
    for slow, fast in _extremes(same):
        yield Finding(
            f"Of the six orders of matmul's three loops, {slow.case} took {times(slow.best / fast.best)} as long as "
            f"{fast.case}",
            f"Matrices of {_shape(slow)}, the same multiplications and additions. {_innermost(slow.case)} "
            f"{_innermost(fast.case)}",
            "layout",
            (slow, fast),
        )


INNERMOST = {
    "i": "goes down a column of a and of c: two new cache lines for each product",
    "j": "goes along a row of b and of c: neighbours in memory, a whole vector of them at once",
    "k": "goes along a row of a, but down a column of b, and adds into one sum, each addition waiting for the last",
}


def _innermost(order: str) -> str:
    return f"{order}'s innermost loop, over {order[-1]}, {INNERMOST[order[-1]]}."


def _strides(records: Sequence[Record]) -> Iterator[Finding]:
    for slow, fast in _widest(
        records,
        lambda r: r.case == "every 16th",
        lambda r: r.case == "every element",
        lambda r: (r.workload, r.section),
    ):
        size = {"float32": 4, "float64": 8}.get(slow.dtype, 4)
        yield Finding(
            f"Summing every 16th element took {times(slow.best / fast.best)} as long as summing neighbours",
            f"{slow.impl}, {_shape(slow)} elements both times. A step of 16 elements is {16 * size} bytes: each "
            "element has a cache line to itself, and no vector can be loaded from one.",
            "layout",
            (slow, fast),
        )


def _powers_of_two(records: Sequence[Record]) -> Iterator[Finding]:
    for slow, fast in _widest(
        records,
        lambda r: r.case == "2ⁿ",
        lambda r: r.case.startswith("2ⁿ +"),
        lambda r: (r.study, r.workload, r.section),
    ):
        further = fast.case.rpartition(" ")[2]
        yield Finding(
            f"Rows a power of two apart cost {times(slow.best / fast.best)} the time of rows {further} elements "
            "further apart",
            f"{slow.operation}, {slow.impl}, {_shape(slow)}. The lower bits of an address choose its set in a cache, "
            "so all elements of such a column compete for a few sets and evict each other.",
            "layout",
            (slow, fast),
        )


def _blocks(swept: Sequence[Record]) -> Iterator[Finding]:
    for slow, fast in _extremes(swept):
        yield Finding(
            f"The worst block of b ({slow.case}) took {times(slow.best / fast.best)} as long as the best ({fast.case})",
            f"cpp.blocked, {_shape(slow)}. A block has to stay in a cache while all rows of a pass over it, and be "
            "large enough that the cost of starting on it disappears.",
            "layout",
            (slow, fast),
        )


def _vectors(records: Sequence[Record]) -> Iterator[Finding]:
    scalar = {"add": "cpp.scalar", "dot": "cpp.one_accumulator", "sum": "cpp.row_wise"}
    for slow, fast in _widest(
        records,
        lambda r: r.impl == scalar.get(r.operation),
        lambda r: r.impl == "cpp.simd" and r.operation in scalar,
        lambda r: (r.operation, r.workload),
    ):
        chained = "" if slow.operation == "add" else ", and each of its additions waits for the last"
        yield Finding(
            f"Vector instructions made {slow.operation} {times(slow.best / fast.best)} as fast",
            f"{fast.impl} and {slow.impl}, {slow.workload}. The scalar loop takes one number at a time{chained}; the "
            "other one takes a full register, and uses several registers at once.",
            "vectorization",
            (slow, fast),
        )
    for slow, fast in _widest(
        [r for r in records if r.operation == "gelu"],
        lambda r: r.impl == "cpp.scalar",
        lambda r: r.impl == "cpp.simd",
        lambda r: r.workload,
    ):
        yield Finding(
            f"GELU without a library call for each element became {times(slow.best / fast.best)} as fast",
            f"{fast.impl} and {slow.impl}, {slow.workload}. A loop that calls exp cannot be vectorized. Written as "
            "polynomials it can: a vector of elements then takes about as long as one call did.",
            "vectorization",
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


def _widest(
    records: Sequence[Record],
    slow: Callable[[Record], bool],
    fast: Callable[[Record], bool],
    same: Callable[[Record], object],
) -> Iterator[tuple[Record, Record]]:
    """The slow and the fast record that are the same otherwise and differ the most, if they differ: compiled rungs
    where there are any, since interpreters hide what memory costs."""
    rivals = {same(r): r for r in records if fast(r)}
    pairs = [(r, rivals[same(r)]) for r in records if slow(r) and same(r) in rivals]
    pairs = [pair for pair in pairs if pair[0].impl.startswith(("cpp", "numba"))] or pairs
    widest = max(pairs, key=lambda pair: pair[0].best / pair[1].best, default=None)
    if widest and widest[0].best > WORTH_SAYING * widest[1].best:
        yield widest


def _extremes(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """The slowest and the fastest, if they differ."""
    if len(records) > 1:
        slow, fast = max(records, key=lambda r: r.best), min(records, key=lambda r: r.best)
        if slow.best > WORTH_SAYING * fast.best:
            yield slow, fast


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
