"""Are the lessons true? Each rung names rungs that it is faster than (`faster_than`); the measured times decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .records import Record


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
