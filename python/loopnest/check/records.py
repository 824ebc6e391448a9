"""The verdict and its parts, as records; text, tables and JSON are made from them. The names are in faults.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ..backends.compiler import Build
from ..timing.interval import Interval

_names = tomllib.loads((Path(__file__).parent / "faults.toml").read_text(encoding="utf-8"))

OUTCOMES: Mapping[str, tuple[int, str]] = {name: (code, text) for name, (code, text) in _names["outcomes"].items()}
OutcomeName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [*OUTCOMES]})]
TRICKS: Mapping[str, str] = _names["tricks"]
FAULTS: Mapping[str, str] = _names["faults"]
SENTENCES = {**TRICKS, **FAULTS}
SIGNALS: Mapping[str, str] = _names["signals"]
ENDS: Mapping[str, tuple[str, str]] = _names["ends"]
PROBLEMS: Mapping[str, tuple[str, str, str]] = _names["problems"]


class Refusal(Exception):
    """Why a kernel is not accepted. The judgement ends here.

    outcome  one of OUTCOMES
    text     the verdict in one sentence
    fault    a name from TRICKS or FAULTS, or None
    """

    def __init__(self, outcome: str, text: str, fault: str | None = None, *details: str) -> None:
        super().__init__(text)
        self.outcome, self.fault, self.details, self.text = outcome, fault or None, details, text


@dataclass(frozen=True)
class Checked:
    """What was looked at to say that it is right.

    calls     in all, each with inputs of its own
    cases     kinds of calls, and how many of each
    skipped   what was not looked at, and why
    declined  layouts or forms that it refuses with an error, which is honest
    left      how many of the calls were left out for lack of time
    """

    calls: int = 0
    cases: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()
    left: int = 0


@dataclass(frozen=True)
class Raced:
    """One contender: the submission, called "it", or a rung.

    seconds    of each call, from "go" to "done" by the judge's clock, less what other processes had of the processor
    processor  seconds of processor time of each call
    limit      seconds that the machine needs at least; 0 where it is not known
    bound      what that limit is set by: "flops", or the level of memory
    share      of the limit that it reaches, with its 95 % interval
    """

    name: str
    workload: str
    shape: Mapping[str, int]
    seconds: tuple[float, ...]
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
    predicted     seconds of a call of the rungs that were too slow to be timed, from smaller workloads, if all of the
                  ladder was asked for
    round_trip    seconds from "go" to "done" of a call that does nothing: part of every time
    """

    dtype: str
    threads: int
    races: tuple[Raced, ...]
    below: str | None
    above: str | None
    same_as: str | None = None
    round_trip: float = 0.0
    notes: tuple[str, ...] = ()
    predicted: Mapping[str, float] = field(default_factory=dict)

    @property
    def own(self) -> Raced:
        """The submission's times."""
        return self.races[0]


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one submission.

    `loopnest check --json` prints this record; verdict.schema.json describes it, and docs/reward.md its use.

    outcome         one of OUTCOMES
    accepted        whether it is right, and was timed by what it computed
    fault           the name of the trick or mistake that was recognised, from TRICKS and FAULTS, or None
    sentence        the verdict in one sentence
    details         how that was seen: in which call, with which values
    notes           what else a reader should know, and what is no reason to refuse
    next_steps      what to try, and the commands that show more
    output          what it printed: the beginning, and how much more there was
    dtypes          that it was judged in
    seconds         that the judgement took
    promises        what it says of itself by which it is held to less, such as "strassen(64)"
    schema          the version of this record: it rises when a field goes, or changes its meaning
    exit_code       of the command: 0 where it is right; else the outcome's
    trick           whether the fault is one of TRICKS: it may be a mistake, but need not be an honest one
    share_of_limit  of the machine's speed limit, with its 95 % interval; None where it was not timed, or the limit is
                    not known, or the times say nothing
    """

    operation: str
    file: str
    outcome: OutcomeName
    accepted: bool
    fault: str | None
    sentence: str
    details: tuple[str, ...] = ()
    build: Build | None = None
    checked: Checked | None = None
    timing: Placing | None = None
    next_steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    output: str = ""
    dtypes: tuple[str, ...] = ()
    seconds: float = 0.0
    promises: tuple[str, ...] = ()
    schema: Literal[1] = field(init=False)
    exit_code: int = field(init=False)
    trick: bool = field(init=False)
    share_of_limit: Interval | None = field(init=False)

    def __post_init__(self) -> None:
        share = self.timing.own.share if self.accepted and self.timing else None
        derived = {"schema": 1, "exit_code": OUTCOMES[self.outcome][0], "trick": self.fault in TRICKS}
        vars(self).update(derived, share_of_limit=share)


SCHEMA = Path(__file__).with_name("verdict.schema.json")
"""The JSON Schema of a verdict's JSON."""


def schema() -> dict[str, Any]:
    """The content of SCHEMA, made from the records."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Verdict)}
