"""What the records say, in sentences: each is made from records that it names, and none where these are missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..bench.records import Record
from ..bench.tables import highest, rate, unit
from ..output.text import duration, three_digits, times
from . import touched

LINE = 64
"""Bytes of a cache line where there is no machine card that says it."""


@dataclass(frozen=True)
class Finding:
    """A sentence with its figure, why it is so, and the records that it is made from.

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
    found: list[Finding] = []
    for find in (_columns, _loop_orders, _strides, _powers_of_two, _blocks, _vectors, _ladders, _limits):
        found += find(records, line)
    return [_with_traffic(finding) if finding.about == "layout" else finding for finding in found]


def _with_traffic(finding: Finding) -> Finding:
    """With what the cache simulator counted for its two records, where it was asked."""
    told = touched.beside(*finding.records)
    return dataclasses.replace(finding, reason=f"{finding.reason} {told}") if told else finding


def _columns(records: Sequence[Record], line: int) -> Iterator[Finding]:
    pairs = _pairs(
        [r for r in records if r.study == SUM_BY],
        slow=lambda r: r.impl.endswith(".column_wise"),
        fast=lambda r: r.impl.endswith(".row_wise"),
        same=lambda r: (r.workload, r.section),
    )
    slow, fast = _widest([p for p in pairs if p[0].impl.startswith(("cpp", "numba"))] or pairs)
    if slow and fast and slow.best > 1.1 * fast.best:
        size = _itemsize(slow)
        yield Finding(
            f"Walking a row-major matrix by columns took {times(slow.best / fast.best)} as long as by rows",
            f"{slow.impl} beside {fast.impl}, a sum over {_sides(slow)} elements. Memory comes in cache lines of "
            f"{line} bytes. Along a row all {line // size} elements of a line are used one after another; down a "
            f"column each element costs a line of its own: {line} bytes for {size}.",
            "layout",
            (slow, fast),
        )


def _loop_orders(records: Sequence[Record], line: int) -> Iterator[Finding]:
    same = _largest([r for r in records if r.study == LOOP_ORDERS])
    if len(same) < 2:
        return
    slow, fast = max(same, key=lambda r: r.best), min(same, key=lambda r: r.best)
    if slow.best < 1.1 * fast.best:
        return
    yield Finding(
        f"Of the six orders of matmul's three loops, {slow.case} took {times(slow.best / fast.best)} as long as "
        f"{fast.case}",
        f"Matrices of {_sides(slow)}, the same multiplications and additions. {_innermost(slow.case)} "
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


def _strides(records: Sequence[Record], line: int) -> Iterator[Finding]:
    every = [r for r in records if r.study == STRIDES]
    pairs = _pairs(
        every,
        slow=lambda r: r.case == "every 16th",
        fast=lambda r: r.case == "every element",
        same=lambda r: (r.workload, r.section),
    )
    slow, fast = _widest([p for p in pairs if p[0].impl.startswith(("cpp", "numba"))])
    if slow and fast and slow.best > 1.1 * fast.best:
        yield Finding(
            f"Summing every 16th element took {times(slow.best / fast.best)} as long as summing as many neighbours",
            f"{slow.impl}, {_sides(slow)} elements. A step of 16 is a step of {16 * _itemsize(slow)} bytes: each "
            "element has a cache line to itself, and no vector can be loaded from one.",
            "layout",
            (slow, fast),
        )


def _powers_of_two(records: Sequence[Record], line: int) -> Iterator[Finding]:
    pairs = _pairs(
        [r for r in records if r.study.endswith(POWERS_OF_TWO)],
        slow=lambda r: r.case == "2ⁿ",
        fast=lambda r: r.case.startswith("2ⁿ +"),
        same=lambda r: (r.study, r.workload, r.section),
    )
    slow, fast = _widest(pairs)
    if slow and fast and slow.best > 1.1 * fast.best:
        further = fast.case.rpartition(" ")[2]
        yield Finding(
            f"Rows a power of two apart cost {times(slow.best / fast.best)} the time of rows {further} elements "
            "further apart",
            f"{slow.operation}, {slow.impl}, {_sides(slow)}. The lower bits of an address choose its place in a "
            "cache, so all elements of such a column fight for the same few places, and push each other out.",
            "layout",
            (slow, fast),
        )


def _blocks(records: Sequence[Record], line: int) -> Iterator[Finding]:
    swept = _largest([r for r in records if r.study == BLOCKS and " x " in r.case])
    if len(swept) < 2:
        return
    slow, fast = max(swept, key=lambda r: r.best), min(swept, key=lambda r: r.best)
    if slow.best > 1.1 * fast.best:
        yield Finding(
            f"The worst block of b ({slow.case}) took {times(slow.best / fast.best)} as long as the best ({fast.case})",
            f"cpp.blocked, {_sides(slow)}. A block has to stay in a cache while all rows of a pass over it, and has "
            "to be large enough that starting on it does not count.",
            "layout",
            (slow, fast),
        )


def _vectors(records: Sequence[Record], line: int) -> Iterator[Finding]:
    of_suite = [r for r in records if r.suite == "vectorization"]
    scalar = {"add": "cpp.scalar", "dot": "cpp.one_accumulator", "sum": "cpp.row_wise"}
    pairs = _pairs(
        of_suite,
        slow=lambda r: r.impl == scalar.get(r.operation),
        fast=lambda r: r.impl == "cpp.simd" and r.operation in scalar,
        same=lambda r: (r.operation, r.workload),
    )
    slow, fast = _widest(pairs)
    if slow and fast and slow.best > 1.1 * fast.best:
        chained = "" if slow.operation == "add" else ", and each of its additions waits for the last"
        yield Finding(
            f"Vector instructions made {slow.operation} {times(slow.best / fast.best)} as fast",
            f"{fast.impl} beside {slow.impl}, {slow.workload}. The scalar loop takes one number at a time{chained}; "
            "the other one a register full of them, and several registers side by side.",
            "vectorization",
            (slow, fast),
        )
    pairs = _pairs(
        [r for r in of_suite if r.operation == "gelu"],
        slow=lambda r: r.impl == "cpp.scalar",
        fast=lambda r: r.impl == "cpp.simd",
        same=lambda r: r.workload,
    )
    slow, fast = _widest(pairs)
    if slow and fast and slow.best > 1.1 * fast.best:
        yield Finding(
            f"GELU without a library call for each element became {times(slow.best / fast.best)} as fast",
            f"{fast.impl} beside {slow.impl}, {slow.workload}. A loop with a call of exp in it cannot be vectorized. "
            "Written as polynomials it can: a vector of elements then takes about as long as one call did.",
            "vectorization",
            (slow, fast),
        )


def _ladders(records: Sequence[Record], line: int) -> Iterator[Finding]:
    for study in dict.fromkeys(r.study for r in records if r.ladder):
        top = highest([r for r in records if r.study == study])
        in_unit = unit(top)
        if study != "matmul" or len(top) < 2:
            continue
        slow, fast = min(top, key=lambda r: rate(r, in_unit)), max(top, key=lambda r: rate(r, in_unit))
        factor = rate(fast, in_unit) / rate(slow, in_unit)
        yield Finding(
            f"From {slow.impl} to {fast.impl} {study} becomes {times(factor)} as fast",
            f"{three_digits(rate(slow, in_unit))} and {three_digits(rate(fast, in_unit))} {in_unit}, each on the "
            f"largest matrices that its time allows: {slow.workload} and {fast.workload}.",
            "ladders",
            (slow, fast),
        )


def _limits(records: Sequence[Record], line: int) -> Iterator[Finding]:
    for operation in ("matmul", "gelu", "mlp_forward"):
        able = [
            r
            for r in records
            if r.operation == operation
            and r.percent is not None
            and not r.beyond_limit
            and r.suite == _suite(operation)
        ]
        if able:
            best = max(able, key=lambda r: r.percent or 0.0)
            assert best.limit is not None
            held = "the arithmetic" if best.limit.by == "flops" else f"moving its bytes ({best.limit.level})"
            yield Finding(
                f"The fastest {operation} reached {best.percent:.0f} % of the machine's limit",
                f"{best.impl}, {best.workload}: {duration(best.best)}, where {held} alone takes "
                f"{duration(best.limit.seconds)} on {best.limit.threads} core{'s' if best.limit.threads > 1 else ''}.",
                "roofline",
                (best,),
            )
    wrong = [r for r in records if r.beyond_limit]
    if wrong:
        which = ", ".join(dict.fromkeys(f"{r.operation} {r.impl}" for r in wrong[:3]))
        yield Finding(
            f"{len(wrong)} result{'s' if len(wrong) > 1 else ''} cannot be true: a time that beats the machine's limit",
            f"{which}{', …' if len(wrong) > 3 else ''}. The limit or the count of flops or bytes is wrong; these have "
            "a question mark in place of their per cent. `loopnest machine --refresh` measures the limits again.",
            "table",
            tuple(wrong),
        )


def _suite(operation: str) -> str:
    return {"mlp_forward": "mlp"}.get(operation, operation)


SUM_BY = "sum, along rows or down columns"
LOOP_ORDERS = "matmul, six loop orders"
STRIDES = "sum, every element or every n-th"
POWERS_OF_TWO = "rows 2ⁿ elements apart or 16 more"
BLOCKS = "matmul, sizes of the block of b (inner x cols)"
OPERANDS = "matmul, operands row-major (N) or column-major (T)"
"""Studies of benchmarks/bench_layout.py."""


def _pairs(
    records: Sequence[Record],
    slow: Callable[[Record], bool],
    fast: Callable[[Record], bool],
    same: Callable[[Record], object],
) -> list[tuple[Record, Record]]:
    """The slow and the fast ones that are the same in the rest."""
    quick = {same(r): r for r in records if fast(r)}
    return [(r, quick[same(r)]) for r in records if slow(r) and same(r) in quick]


def _widest(pairs: Sequence[tuple[Record, Record]]) -> tuple[Record, Record] | tuple[None, None]:
    return max(pairs, key=lambda pair: pair[0].best / pair[1].best, default=(None, None))


def _largest(records: Sequence[Record]) -> list[Record]:
    """Those on the largest workload that as many of them ran as any."""
    by_workload: dict[str, list[Record]] = {}
    for record in records:
        by_workload.setdefault(record.workload, []).append(record)
    return max(by_workload.values(), key=lambda same: (len(same), same[0].work), default=[])


def _itemsize(record: Record) -> int:
    return {"float32": 4, "float64": 8}.get(record.dtype, 4)


def _sides(record: Record) -> str:
    """A workload's shape as one reads it: 512 × 512, or 4 × 1024 × 16."""
    sides = list(record.shape.values())
    return " × ".join(map(str, sides[:2] if len(set(sides)) == 1 and len(sides) > 2 else sides))
