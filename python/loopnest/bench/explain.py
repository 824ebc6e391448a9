"""Which layout is slow, and why: a sentence made of measured times and of simulated traffic.

A sentence claims no more than its figures: where the slow row moves no more than the fast one, it says that the caches
are not the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..layout.traffic import Traffic
from .records import Record

LATENCIES = (4e-9, 15e-9, 100e-9)
"""Seconds that a line from L2, L3 and memory takes at most, about, if nothing hides it. They decide which level a
sentence names, and whether the additional lines can be the reason for the additional time."""

ENOUGH = 0.3
"""Additional lines are the reason if they can take this share of the additional time."""

SAME = 1.15
"""Times nearer than this factor are called equal."""

MORE = 1.3
"""Traffic explains a slower row only if it is larger by this factor."""


def columns(rows: Sequence[Record]) -> dict[str, str]:
    """By level, the titles of the columns of bytes: of levels from which bytes move. Empty if nothing was replayed."""
    found = [row.traffic for row in rows if row.traffic is not None]
    if not found:
        return {}
    first = found[0]
    used = [level for level in first.levels if any(t.bytes(level) for t in found if level in t.levels)]
    return {level: f"{level}-\n{first.below(level).replace('memory', 'mem.')}" for level in used or first.levels[:1]}


def cells(row: Record, levels: Collection[str]) -> list[str]:
    """The bytes of each column. A row that was not replayed has its compulsory bytes, a lower bound."""
    if row.traffic is None:
        return [f"≥{size(row.bytes)}"] + [""] * (len(levels) - 1)
    return [size(row.traffic.bytes(level)) for level in levels]


def footnote(rows: Sequence[Record]) -> str:
    """What the columns of bytes are."""
    lower = "; ≥: not simulated, each operand once" if any(row.traffic is None for row in rows) else ""
    return f"bytes: what a second call moves between the caches, simulated{lower}"


def sentence(rows: Sequence[Record]) -> str:
    """One sentence about the rows of a table, on the section in which the layout matters most. Empty where nothing was
    replayed."""
    sections: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        if row.traffic:
            sections.setdefault((row.section, row.workload), []).append(row)
    compared = [section for section in sections.values() if len(section) > 1]
    if not compared:
        return ""
    spreads = [max(r.best for r in section) / min(r.best for r in section) for section in compared]
    return _about(compared[spreads.index(max(spreads))], named=len({r.impl for r in rows}) > 1)


def between(slow: Record, fast: Record) -> str:
    """The bytes of two rows between the levels where they differ most. Empty where something was not replayed."""
    of_slow, of_fast = slow.traffic, fast.traffic
    if of_slow is None or of_fast is None:
        return ""
    level = max(of_slow.levels, key=lambda level: of_slow.bytes(level) / max(of_fast.bytes(level), of_slow.line))
    if of_slow.bytes(level) < MORE * of_fast.bytes(level):
        return "But the simulated caches move no more for it: the instructions differ."
    moved, instead = size(of_slow.bytes(level)), size(of_fast.bytes(level))
    return f"Simulated: {moved} between {level} and {of_slow.below(level)} instead of {instead}."


def _about(section: Sequence[Record], named: bool) -> str:
    slow, fast = max(section, key=lambda r: r.best), min(section, key=lambda r: r.best)
    ratio = slow.best / fast.best

    def name(row: Record) -> str:
        if not row.case or row.impl.endswith(f".{row.case}"):
            return row.impl
        return f"{row.impl} {row.case}" if named else row.case

    if ratio < SAME:
        return f"No row is slow here: {name(slow)} takes {ratio:.2f} times as long as {name(fast)}."
    of_slow, of_fast = slow.traffic, fast.traffic
    assert of_slow is not None
    assert of_fast is not None
    begin = f"{name(slow)} is slow, {ratio:,.{1 if ratio < 10 else 0}f} times as long as {name(fast)}"
    innocent = f"{begin}, and not because of the caches:"
    level = _level_that_differs(of_slow, of_fast, slow.best - fast.best)
    if level is None:
        return f"{innocent} its additional bytes cost too little; the instructions differ."
    for also in section:
        if also.traffic and also.best * SAME > slow.best and of_slow.bytes(level) >= 2 * also.traffic.bytes(level):
            return f"{innocent} {name(also)} moves less and takes as long; the instructions differ."
    operand = max(of_slow.found, key=lambda o: of_slow.misses(level, o))
    missed = of_slow.misses(level, operand)
    share = missed / sum(of_slow.found[operand])
    per_cent = f"{100 * share:.{0 if share >= 0.01 else 1}f} %"
    which = f"every access to {operand} misses" if share > 0.995 else f"{per_cent} of the accesses to {operand} miss"
    used = of_slow.asked[operand] / missed
    part = f", to use {used:.0f} bytes of a line's {of_slow.line}" if used < of_slow.line / 2 else ""
    moved = f"{size(of_slow.bytes(level))} cross between {level} and {of_slow.below(level)}"
    return f"{begin}: {which} {level}{part}, and {moved} instead of {size(of_fast.bytes(level))}."


def _level_that_differs(slow: Traffic, fast: Traffic, seconds: float) -> str | None:
    """The level whose additional lines may take the longest, if they can explain the additional seconds."""
    takes = {
        level: latency * (slow.bytes(level) - fast.bytes(level)) / slow.line
        for level, latency in zip(slow.levels, LATENCIES, strict=False)
        if level in fast.levels and slow.bytes(level) >= MORE * fast.bytes(level) and slow.misses(level)
    }
    most = max(takes, key=lambda level: takes[level], default=None)
    return most if most is not None and takes[most] >= ENOUGH * seconds else None


def size(count: float) -> str:
    """Bytes with three significant digits: 0 B, 64 B, 16.8 kB, 1.07 GB."""
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            digits = 2 if count < 10 * scale else 1 if count < 100 * scale else 0
            return f"{count / scale:.{digits}f} {name}"
    return f"{count:.0f} B"
