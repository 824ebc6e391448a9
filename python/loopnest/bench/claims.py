"""Do the lessons tell the truth? Each rung names those that it is faster than; the measured times say whether it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .records import Record


@dataclass(frozen=True)
class Claim:
    """`impl` is said to be faster than `other`; it was `ratio` times as fast on the largest workload that both ran."""

    study: str
    impl: str
    other: str
    workload: str
    ratio: float

    @property
    def holds(self) -> bool:
        return self.ratio > 1


def claims(records: Sequence[Record]) -> list[Claim]:
    """The claims that the records decide: those of rungs that ran the same workload in one study, of plain arrays."""
    records = [r for r in records if not r.case and not r.section]
    times = {(r.study, r.workload, r.impl): r.best for r in records}
    decided: dict[tuple[str, str, str], Claim] = {}
    for record in sorted(records, key=lambda r: r.work):
        for other in record.faster_than:
            theirs = times.get((record.study, record.workload, other))
            if theirs is not None:
                ratio = theirs / record.best
                decided[record.study, record.impl, other] = Claim(
                    record.study, record.impl, other, record.workload, ratio
                )
    return list(decided.values())
