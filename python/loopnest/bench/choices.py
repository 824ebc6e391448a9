"""Which rows of a run are compared, which of the lessons' claims hold, and which results are unexpected."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..arrays import dtype_called
from ..operations import OPERATIONS
from ..output.text import three_digits, times
from .records import Record

Item = TypeVar("Item")
Key = TypeVar("Key")

COMPUTE_BOUND = 2.0
"""A study with this number of operations a byte is rated in GFLOP/s. With fewer, memory decides, and GB/s are shown."""

FASTER = 1.1
"""Times nearer than this factor are not worth a sentence."""


def unit(records: Sequence[Record]) -> str:
    return "GFLOP/s" if max(r.flops / r.bytes for r in records) >= COMPUTE_BOUND else "GB/s"


def rate(record: Record, unit: str) -> float:
    return record.gflops if unit == "GFLOP/s" else record.gbytes


def highest(records: Sequence[Record]) -> list[Record]:
    """Each rung's record on the largest workload that it ran."""
    largest: dict[tuple[str, str], Record] = {}
    for record in records:
        rung = record.impl, record.case
        if rung not in largest or record.work > largest[rung].work:
            largest[rung] = record
    return list(largest.values())


def one_size(records: Sequence[Record]) -> tuple[str, list[Record]]:
    """The largest workload that at least half of the rungs ran; each rung on it, or else on the largest of its own."""
    top = highest(records)
    by_workload = groups(records, lambda r: r.workload).values()
    common = max(by_workload, key=lambda same: (min(2 * len(same), len(top)), same[0].work))
    there = {(r.impl, r.case): r for r in common}
    return common[0].workload, [there.get((r.impl, r.case), r) for r in top]


def ends(records: Sequence[Record]) -> tuple[Record, Record]:
    """The slowest and the fastest rung on the largest workload that all ran, or else the most of them.

    A rung with a note, which leaves the contract, is neither.
    """
    ranked = sorted((r for r in comparable(records) if not r.note), key=lambda r: rate(r, unit(records)))
    return ranked[0], ranked[-1]


def comparable(records: Sequence[Record]) -> list[Record]:
    """For each section the records of the largest workload that all of its rows ran, or else the most of them."""
    chosen: list[Record] = []
    for section in groups(records, lambda r: r.section).values():
        workloads = list(groups(section, lambda r: r.workload).values())
        largest = max(workloads, key=lambda same: (len(same), same[0].work))
        chosen += largest
    return chosen


@dataclass(frozen=True)
class Claim:
    """`impl` claims to be faster than `other`; it was `ratio` times as fast on the largest workload that both ran."""

    study: str
    impl: str
    other: str
    workload: str
    ratio: float

    @property
    def holds(self) -> bool:
        return self.ratio > 1


def claims(records: Sequence[Record]) -> list[Claim]:
    """The claims that the records decide: of rungs that ran the same workload in one study, on plain arrays."""
    plain = sorted((r for r in records if not r.case and not r.section), key=lambda r: r.work)
    times = {(r.study, r.workload, r.impl): r.best for r in plain}
    decided = {}
    for r in plain:
        for other in r.faster_than:
            theirs = times.get((r.study, r.workload, other))
            if theirs is not None:
                decided[r.study, r.impl, other] = Claim(r.study, r.impl, other, r.workload, theirs / r.best)
    return list(decided.values())


def surprises(records: Sequence[Record]) -> Iterator[str]:
    """The rungs of a study that are slower than the one before them, or that beat the default one.

    Pairs whose order a lesson claims are left to `claims`.
    """
    plain = [r for r in records if r.ladder and not r.case and not r.section and not r.note]
    if not plain:
        return
    workload, rows = one_size(plain)
    slower = [
        f"{r.impl} takes {three_digits(r.best / before.best)} times as long as {before.impl}"
        for before, r in itertools.pairwise(rows)
        if before.impl.partition(".")[0] == r.impl.partition(".")[0]
        and before.workload == r.workload == workload
        and r.best > FASTER * before.best
        and before.impl not in r.faster_than
    ]
    if slower:
        yield f"slower than the rung before it, on {workload}: {'; '.join(slower)}"
    default = OPERATIONS[plain[0].operation].fastest(dtype_called(plain[0].dtype)).id
    pairs = [(r, ours) for ours in plain if ours.impl == default for r in plain if r.workload == ours.workload]
    best, ours = max(pairs, key=lambda pair: pair[1].best / pair[0].best, default=(None, None))
    if best and ours and ours.best > FASTER * best.best:
        yield (
            f"warning: {best.impl} beats {default}, which a call without `impl` takes: on {best.workload} it is "
            f"{three_digits(ours.best / best.best)} times as fast"
        )


def in_short(records: Sequence[Record]) -> Iterator[str]:
    """A line for each operation that has a ladder: its fastest rung, and how far it is from the limit and the first."""
    ladders = groups((r for r in records if r.ladder and not r.beyond_limit), lambda r: r.operation)
    for same in ladders.values():
        study = [r for r in same if r.study == same[0].study and not r.note]
        (workload, rows), (slowest, fastest) = one_size(study), ends(study)
        top = min((r for r in rows if r.workload == workload), key=lambda r: r.best)
        share = f", {top.percent:.0f} % of the limit" if top.percent else ""
        reached = f"{top.impl} {three_digits(rate(top, unit(study)))} {unit(study)} on {workload}{share}"
        yield f"{top.study}: {reached}; {times(slowest.best / fastest.best)} {slowest.impl} on {slowest.workload}"


def notes(records: Iterable[Record]) -> list[str]:
    """What a reader should know about some of the figures."""
    return [f"{impl}: {note}" for impl, note in {r.impl: r.note for r in records}.items() if note]


def groups(records: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The records with the same key together, in the order in which the keys first appear."""
    groups: dict[Key, list[Item]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
