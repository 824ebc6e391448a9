"""What the cache simulator adds to the report: the bytes that move between the caches, and why a row is slow."""

from __future__ import annotations

from collections.abc import Sequence

from .. import explain
from ..records import Record
from ..traffic import Traffic


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
