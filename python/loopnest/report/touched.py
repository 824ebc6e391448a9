"""What the cache simulator adds to the report: the bytes that move between the caches, and why a row is slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..bench.records import Record
from ..layout import explain
from ..layout.traffic import Traffic
from ..layout.walk import TOY, animation_svg, picture_svg, walk


def moved(record: Record) -> dict[str, str] | None:
    """The bytes that cross between two levels, as text, by the levels; None where nothing was simulated."""
    if record.traffic is None:
        return None
    traffic = Traffic.from_json(record.traffic)
    crossing = {f"{level}–{traffic.below(level)}": explain.size(traffic.bytes(level)) for level in traffic.levels}
    return crossing | ({"simulated": traffic.how} if traffic.how else {})


def sentence(records: Sequence[Record]) -> str:
    """Which of these rows is slow and why, by the simulator; empty where nothing was simulated."""
    return explain.sentence(records) if any(r.traffic for r in records) else ""


MORE = 1.3
"""How many times the bytes are worth a word."""


def beside(slow: Record, fast: Record) -> str:
    """How many bytes cross between the two levels where the rows differ most, for both; empty where that is unknown."""
    if slow.traffic is None or fast.traffic is None:
        return ""
    its, other = Traffic.from_json(slow.traffic), Traffic.from_json(fast.traffic)
    level = max(its.levels, key=lambda level: its.bytes(level) / max(other.bytes(level), its.line))
    if its.bytes(level) < MORE * other.bytes(level):
        return "The simulated caches move no more for it, though: here it is the instructions that differ."
    moves, instead = explain.size(its.bytes(level)), explain.size(other.bytes(level))
    return f"Simulated: {moves} between {level} and {its.below(level)} instead of {instead}."


def pictures() -> Iterator[tuple[str, str, str]]:
    """Title, caption and SVG of pictures of small matrices that are walked in several orders, through a toy's cache."""
    toy = f"a cache of {TOY.size // TOY.line} lines of {TOY.line} bytes, so that a small matrix does not fit"
    for variant, words in (("row_wise", "along the rows"), ("column_wise", "down the columns")):
        caption = f"A sum {words} of a row-major matrix, step by step, through {toy}."
        yield f"sum, {words}, as it goes", caption, animation_svg(walk("sum", variant))
    for order in ("ikj", "jki"):
        caption = (
            f"Three loops in the order {order}: when each element is first touched, and how often it misses {toy}."
        )
        yield f"matmul, {order}: what is touched when", caption, picture_svg(walk("matmul", order))
