"""What a layout table says about the caches: columns of simulated bytes, and a sentence about the slowest row.

A sentence claims no more than its figures: where the slow row moves no more than the fast one, it says that the
instructions differ.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .records import Record

SAME = 1.15
"""Times nearer than this factor make no sentence."""

MORE = 1.3
"""Traffic explains a slower row only if it is larger by this factor."""


def columns(rows: Sequence[Record]) -> dict[str, str]:
    """By level, the titles of the columns of bytes: of levels from which bytes move. Empty if none do."""
    found = [row.traffic for row in rows if row.traffic is not None]
    if not found:
        return {}
    first = found[0]
    used = [level for level in first.levels if any(t.bytes(level) for t in found if level in t.levels)]
    return {level: f"{level}-\n{first.below(level).replace('memory', 'mem.')}" for level in used}


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
    """The slowest row next to the fastest one, in the section in which the layout matters most. Empty where nothing was
    replayed."""
    sections: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        if row.traffic:
            sections.setdefault((row.section, row.workload), []).append(row)
    compared = [sorted(section, key=lambda r: r.best) for section in sections.values() if len(section) > 1]
    if not compared:
        return ""
    section = max(compared, key=lambda section: section[-1].best / section[0].best)
    slow, fast = section[-1], section[0]
    named = len({r.impl for r in rows}) > 1

    def name(row: Record) -> str:
        if not row.case or row.impl.endswith(f".{row.case}"):
            return row.impl
        return f"{row.impl} {row.case}" if named else row.case

    ratio = slow.best / fast.best
    if ratio < SAME:
        return ""
    answer = f"{name(slow)} takes {ratio:,.{1 if ratio < 10 else 0}f} times as long as {name(fast)}."
    return f"{answer} {between(slow, fast)}".rstrip()


def between(slow: Record, fast: Record) -> str:
    """The bytes of two rows between the levels where they differ most. Empty if something was not replayed, or if no
    bytes move."""
    of_slow, of_fast = slow.traffic, fast.traffic
    if of_slow is None or of_fast is None:
        return ""
    level = max(of_slow.levels, key=lambda level: of_slow.bytes(level) / max(of_fast.bytes(level), of_slow.line))
    if not any(map(of_slow.bytes, of_slow.levels)):
        return ""
    if of_slow.bytes(level) < MORE * of_fast.bytes(level):
        return "But the simulated caches move no more for it: the instructions differ."
    moved, instead = size(of_slow.bytes(level)), size(of_fast.bytes(level))
    return f"Simulated: {moved} between {level} and {of_slow.below(level)} instead of {instead}."


def size(count: float) -> str:
    """Bytes with three significant digits: 0 B, 64 B, 16.8 kB, 1.07 GB."""
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            digits = 2 if count < 10 * scale else 1 if count < 100 * scale else 0
            return f"{count / scale:.{digits}f} {name}"
    return f"{count:.0f} B"
