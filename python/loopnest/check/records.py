"""What is said of a submission: records, from which text, tables and JSON are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..backends.compiler import Build
from ..timing.interval import Interval
from .faults import OUTCOMES, sentence


class Refusal(Exception):
    """Why a kernel is not accepted. The judgement ends here.

    outcome  one of faults.OUTCOMES
    text     the verdict in one sentence; the sentence of the trick where it is ""
    trick    a name from faults.TRICKS or faults.FAULTS, or None
    """

    def __init__(self, outcome: str, text: str = "", trick: str | None = None, *details: str) -> None:
        super().__init__(text)
        self.outcome, self.trick, self.details = outcome, trick, details
        self.text = text or sentence(trick or "")


@dataclass(frozen=True)
class Checked:
    """What was looked at to say that it is right.

    calls     in all, each with inputs of its own
    cases     kinds of calls, and how many of each
    skipped   what was not looked at, and why
    declined  layouts or forms that it refuses with an error, which is honest
    """

    calls: int = 0
    cases: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What `verify` found: the refusal, or None where the kernel is right."""

    checked: Checked
    notes: tuple[str, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Raced:
    """One contender on one workload: the submission, called "it", or a rung.

    seconds    of each call, from "go" to "done" by the judge's clock, less what other processes had of the processor
    elapsed    the same, without that subtraction
    processor  seconds of processor time of each call
    limit      seconds that the machine needs at least; 0 where it is not known
    bound      what that limit is set by: "flops", or the level of memory
    share      of the limit that it reaches, with its 95 % interval
    """

    name: str
    workload: str
    shape: Mapping[str, int]
    seconds: tuple[float, ...]
    elapsed: tuple[float, ...]
    processor: tuple[float, ...]
    limit: float
    bound: str
    share: Interval | None

    @property
    def best(self) -> float:
        return min(self.seconds)


@dataclass(frozen=True)
class Placing:
    """How fast it is, next to rungs of the ladder that ran in the same rounds.

    below, above  the rungs that it lies between; None where it is the slowest or the fastest of all
    same_as       a rung that is as fast, as far as the interval shows
    ratio         how many times as fast as `against` it is; None where there are too few rounds for an interval
    round_trip    seconds from "go" to "done" of a call that does nothing: part of every time
    """

    dtype: str
    threads: int
    races: tuple[Raced, ...]
    below: str | None
    above: str | None
    same_as: str | None = None
    against: str | None = None
    ratio: Interval | None = None
    round_trip: float = 0.0
    sentence: str = ""
    notes: tuple[str, ...] = ()

    @property
    def own(self) -> list[Raced]:
        """The submission's times, on each workload."""
        return [r for r in self.races if r.name == "it"]


@dataclass(frozen=True)
class Advice:
    """Something to try next: what it is, and the command that shows more."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one submission.

    outcome     one of faults.OUTCOMES
    accepted    whether it is right, and was timed by what it computed
    trick       the name of the trick or fault that was recognised, from faults.TRICKS and faults.FAULTS, or None
    sentence    the verdict in one sentence
    details     how that was seen: in which call, with which values
    notes       what else a reader should know, and what is no reason to refuse
    output      what it printed: the beginning, and how much more there was
    dtypes      that it was judged in
    """

    operation: str
    file: str
    outcome: str
    accepted: bool
    trick: str | None
    sentence: str
    details: tuple[str, ...] = ()
    build: Build | None = None
    checked: Checked | None = None
    timing: Placing | None = None
    next_steps: tuple[Advice, ...] = ()
    notes: tuple[str, ...] = ()
    output: str = ""
    dtypes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 where it is right; else the exit code of the outcome's class."""
        return OUTCOMES[self.outcome][0]

    def to_json(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "exit_code": self.exit_code}
