"""A folder of submissions, judged one after the other, and put in order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..backends.user_file import LANGUAGES, language
from ..operation import Operation
from .judge import check
from .records import Raced, Verdict


@dataclass(frozen=True)
class Ranking:
    """Verdicts: the right ones from fast to slow, then the others by their outcome.

    workload  on which they were compared: the largest that all of the right ones were timed on; "" where there is none
    """

    operation: str
    workload: str
    verdicts: tuple[Verdict, ...]

    def race_of(self, verdict: Verdict) -> Raced | None:
        """A submission's times on the workload that all are compared on, or on its own largest."""
        own = verdict.timing.own if verdict.timing else []
        return next((r for r in own if r.workload == self.workload), own[-1] if own else None)

    def to_json(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "verdicts": [v.to_json() for v in self.verdicts]}


def rank(
    folder: Path | str,
    operation: str | Operation,
    *,
    on_verdict: Callable[[Path, Verdict], None] = lambda file, verdict: None,
    **options: Any,
) -> Ranking:
    """Judge every Python, C, C++ and CUDA C++ file of a folder; `options` are those of `check`.

    Each has a process of its own, so that one that crashes or hangs spoils no other's verdict. Raises ValueError where
    there is no such folder, or no such file in it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"rank: {path} is no folder")
    files = sorted(f for f in path.iterdir() if language(f) and not f.name.startswith(("_", ".")))
    if not files:
        raise ValueError(f"rank: {path} has no submissions: expected names that end in one of {', '.join(LANGUAGES)}")
    verdicts = []
    for file in files:
        verdicts.append(check(file, operation, **options))
        on_verdict(file, verdicts[-1])
    largest = [v.timing.own[-1] for v in verdicts if v.accepted and v.timing]
    if largest and options.get("workload") is None:
        common = min(largest, key=_size).workload
        verdicts = [_timed_on(common, v, operation, options) for v in verdicts]
    return _ranked(verdicts)


def _size(race: Raced) -> float:
    return math.prod(race.shape.values())


def _timed_on(workload: str, verdict: Verdict, operation: str | Operation, options: dict[str, Any]) -> Verdict:
    """A verdict with times on this workload too: the slowest of the right ones has no larger one."""
    if verdict.timing is None or any(r.workload == workload for r in verdict.timing.races):
        return verdict
    again = check(verdict.file, operation, **{**options, "workload": workload})
    if again.timing is None:
        return again
    both = (*again.timing.races, *verdict.timing.races)
    return dataclasses.replace(verdict, timing=dataclasses.replace(verdict.timing, races=both))


def _ranked(verdicts: Sequence[Verdict]) -> Ranking:
    """In order: the right ones by their times on the common workload, then by what part of the limit they reach."""
    timed = [v.timing.own for v in verdicts if v.accepted and v.timing]
    shared = set.intersection(*({r.workload for r in own} for own in timed)) if timed else set()
    common = max((r for own in timed[:1] for r in own if r.workload in shared), key=_size, default=None)
    ranking = Ranking(verdicts[0].operation, common.workload if common else "", tuple(verdicts))

    def place(v: Verdict) -> tuple[Any, ...]:
        own = ranking.race_of(v)
        if not v.accepted:
            return 3, 0.0, v.outcome, v.trick or "", v.file
        if own is None:
            return 2, 0.0, v.file
        if own.workload == ranking.workload:
            return 0, own.best, v.file
        return 1, -own.share.estimate if own.share else 0.0, v.file

    return dataclasses.replace(ranking, verdicts=tuple(sorted(verdicts, key=place)))
