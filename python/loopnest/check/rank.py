"""A folder of submissions, judged one after the other, and put in order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backends.user_file import LANGUAGES
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
        if verdict.timing is None:
            return None
        mine = [r for r in verdict.timing.races if r.name == "it"]
        return next((r for r in mine if r.workload == self.workload), mine[-1] if mine else None)

    def to_json(self) -> dict[str, Any]:
        whole: dict[str, Any] = dataclasses.asdict(self)
        whole["verdicts"] = [v.to_json() for v in self.verdicts]
        return whole


def rank(
    folder: Path | str,
    operation: str | Operation,
    *,
    on_verdict: Callable[[Path, Verdict], None] = lambda file, verdict: None,
    **options: Any,
) -> Ranking:
    """Judge every Python, C, C++ and CUDA C++ file of a folder; `options` are those of `check`.

    Each has a process of its own, so that one that crashes or hangs spoils no other's verdict. Raises ValueError for a
    folder that is none, or has no such file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"rank: {path} is no folder")
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in LANGUAGES and not f.name.startswith(("_", ".")))
    if not files:
        raise ValueError(f"rank: {path} has no submissions: expected names that end in one of {', '.join(LANGUAGES)}")
    verdicts = []
    for file in files:
        verdict = check(file, operation, **options)
        on_verdict(file, verdict)
        verdicts.append(verdict)
    if options.get("workload") is None:
        verdicts = [_on_common(v, verdicts, operation, options) for v in verdicts]
    return ranked(verdicts)


def _on_common(verdict: Verdict, verdicts: Sequence[Verdict], operation: str | Operation, options: Any) -> Verdict:
    """A verdict with times on the workload that the slowest of the right ones could be timed on: the smallest of the
    largest."""
    largest = [v.timing.races[-1] for v in verdicts if v.accepted and v.timing is not None]
    if verdict.timing is None or not largest:
        return verdict
    common = min(largest, key=lambda r: math.prod(r.shape.values())).workload
    if any(r.workload == common for r in verdict.timing.races):
        return verdict
    again = check(verdict.file, operation, **{**options, "workload": common})
    if again.timing is None:
        return again
    both = (*again.timing.races, *verdict.timing.races)
    return dataclasses.replace(verdict, timing=dataclasses.replace(verdict.timing, races=both))


def ranked(verdicts: list[Verdict]) -> Ranking:
    """In order: by speed among the right ones. On one workload all of the same amount of work are compared by times."""
    right = [v for v in verdicts if v.accepted]
    common = _common_workload(right)
    order = Ranking(verdicts[0].operation, common, tuple(verdicts))

    def place(v: Verdict) -> tuple[Any, ...]:
        mine = order.race_of(v)
        if not v.accepted:
            return (2, v.outcome, v.trick or "", v.file)
        if mine is None:
            return (1, 0.0, "", v.file)
        share = mine.share.estimate if mine.share else 0.0
        return (0, -share if mine.workload != common else mine.best - 1e9, "", v.file)

    return dataclasses.replace(order, verdicts=tuple(sorted(verdicts, key=place)))


def _common_workload(right: list[Verdict]) -> str:
    """The largest workload that all were timed on."""
    timed = [v.timing for v in right if v.timing is not None]
    if not timed:
        return ""
    sizes: Mapping[str, float] = {
        r.workload: math.prod(r.shape.values()) for pace in timed for r in pace.races if r.name == "it"
    }
    shared = [w for w in sizes if all(any(r.workload == w and r.name == "it" for r in pace.races) for pace in timed)]
    return max(shared, key=lambda w: sizes[w], default="")
