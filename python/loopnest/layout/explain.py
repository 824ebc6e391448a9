"""Which layout is slow, and why: a sentence made of the times and of what the cache simulator says.

A sentence claims no more than its figures: where the slow row moves no more than the fast one, it says that the caches
are not the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..bench.records import Record
from .traffic import Traffic

LATENCIES = (4e-9, 15e-9, 100e-9)
"""Seconds that a line from L2, from L3 and from memory takes at most, about, where nothing hides it: by these the level
to speak of is chosen, and whether what a row moves more can be why it takes longer."""

ENOUGH = 0.3
"""Of the additional time, what additional lines must be able to take to be called the reason."""

SAME = 1.15
"""Times nearer than this are told as the same."""

MORE = 1.3
"""How many times the traffic explains a slower row."""

SMALLER = "of matrices of "
"""How `Traffic.how` begins where another size was replayed."""


@dataclass(frozen=True)
class Column:
    """A column of bytes: those that cross between two neighbouring levels."""

    level: str
    title: str


def columns(records: Sequence[Record]) -> list[Column]:
    """For each pair of levels between which some row moves anything; none where no row was replayed."""
    found = [_traffic(record) for record in records if record.traffic is not None]
    if not found:
        return []
    first = found[0]
    used = [level for level in first.levels if any(t.bytes(level) for t in found if level in t.levels)]
    return [
        Column(level, f"{level}-\n{first.below(level).replace('memory', 'mem.')}") for level in used or first.levels[:1]
    ]


def cells(record: Record, shown: Sequence[Column]) -> list[str]:
    """The bytes of each column; for a row that was not replayed the compulsory bytes, which are the least."""
    if record.traffic is None:
        return [f"≥{size(record.bytes)}", *("" for _ in shown[1:])]
    traffic = _traffic(record)
    mark = "~" if traffic.how.startswith(SMALLER) else ""
    return [mark + size(traffic.bytes(column.level)) for column in shown]


def footnote(records: Sequence[Record]) -> str:
    """What the columns of bytes are, and what of them is not the row's own call."""
    hows = sorted({r.traffic["how"] for r in records if r.traffic and r.traffic["how"].startswith(SMALLER)})
    text = "bytes: what a second call moves between the caches, simulated"
    if any(record.traffic is None for record in records):
        text += "; ≥: not simulated, each operand once"
    if hows:
        text += "; ~: " + ", ".join(hows)
    return text


def sentence(records: Sequence[Record]) -> str:
    """One sentence about the rows of one table; of its sections, the one in which the layout matters most. Empty where
    nothing was replayed."""
    sections: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.traffic and not record.traffic["how"].startswith(SMALLER):
            sections.setdefault((record.section, record.workload), []).append(record)
    compared = [section for section in sections.values() if len(section) > 1]
    if not compared:
        return ""
    return _about(max(compared, key=_spread), named=len({r.impl for r in records}) > 1)


def _spread(section: Sequence[Record]) -> float:
    return max(r.best for r in section) / min(r.best for r in section)


def _about(section: Sequence[Record], named: bool) -> str:
    slow, fast = max(section, key=lambda r: r.best), min(section, key=lambda r: r.best)
    ratio = slow.best / fast.best

    def name(record: Record) -> str:
        if not record.case or record.impl.endswith(f".{record.case}"):
            return record.impl
        return f"{record.impl} {record.case}" if named else record.case

    if ratio < SAME:
        return f"No row is slow here: {name(slow)} takes {ratio:.2f} times as long as {name(fast)}."
    its, other = _traffic(slow), _traffic(fast)
    begin, not_caches = (
        f"{name(slow)} is slow, {_times(ratio)} times as long as {name(fast)}",
        "and not because of the caches",
    )
    level = _level_that_differs(slow, fast)
    if level is None:
        return f"{begin}, {not_caches}: what it moves more is too little for that; the instructions differ."
    for also in section:
        if also.best * SAME > slow.best and its.bytes(level) >= 2 * _traffic(also).bytes(level):
            return f"{begin}, {not_caches}: {name(also)} moves less and takes as long; the instructions differ."
    operand = max(its.found, key=lambda o: its.misses(level, o))
    looked_for, missed = sum(its.found[operand]), its.misses(level, operand)
    share = f"{_percent(missed / looked_for)} of the accesses to {operand} miss"
    who = f"every access to {operand} misses" if missed > 0.995 * looked_for else share
    use = its.asked[operand] / missed
    for_it = f", for {use:.0f} bytes read or written of a line's {its.line}" if use < its.line / 2 else ""
    moved = f"{size(its.bytes(level))} cross between {level} and {its.below(level)}"
    return f"{begin}: {who} {level}{for_it}, and {moved} instead of {size(other.bytes(level))}."


def _traffic(record: Record) -> Traffic:
    assert record.traffic is not None
    return Traffic.from_json(record.traffic)


def _level_that_differs(slow: Record, fast: Record) -> str | None:
    """The level at which the slow row's additional lines may take the longest, if long enough to be a reason."""
    its, other = _traffic(slow), _traffic(fast)
    takes = {
        level: latency * (its.bytes(level) - other.bytes(level)) / its.line
        for level, latency in zip(its.levels, LATENCIES, strict=False)
        if level in other.levels and its.bytes(level) >= MORE * other.bytes(level) and its.misses(level)
    }
    most = max(takes, key=lambda level: takes[level], default=None)
    return most if most is not None and takes[most] >= ENOUGH * (slow.best - fast.best) else None


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1f} %"


def size(count: float) -> str:
    """Bytes with three significant digits: 0 B, 64 B, 16.8 kB, 1.07 GB."""
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            digits = 2 if count < 10 * scale else 1 if count < 100 * scale else 0
            return f"{count / scale:.{digits}f} {name}"
    return f"{count:.0f} B"
