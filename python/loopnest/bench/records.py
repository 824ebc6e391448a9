"""What a benchmark run gives, as data: records, and the JSON file that holds them.

The file has pytest-benchmark's format, so that its own commands read it too (`pytest-benchmark compare`); what it does
not know lies in each benchmark's extra_info, and in `machine`, `conditions`, `not_run` and `failures` beside the
benchmarks. Of the times of a benchmark's rounds at most 50 are kept, as its stats' `data`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..machine.plausible import Limit
from ..output.files import save_text
from ..timing.conditions import Conditions
from ..timing.environment import Environment

SAMPLES = 50
"""Times kept of a benchmark: enough for an interval of the median, and a tenth of the file that all would make."""

NOISE = 1.02
"""A rung may seem this much faster than the limit: both are measured, and a clock moves that much."""


def kept(seconds: Sequence[float], most: int = SAMPLES) -> list[float]:
    """Of many times, evenly spaced ones in ascending order, the smallest and the largest among them.

    >>> kept([5.0, 1.0, 4.0, 3.0, 2.0], most=3)
    [1.0, 3.0, 5.0]
    """
    ordered = sorted(seconds)
    if len(ordered) > most:
        ordered = [ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most)]
    return [float(f"{x:.7g}") for x in ordered]


@dataclass(frozen=True)
class Record:
    """One implementation, timed on one workload.

    study    what is compared, such as `matmul` or `sum, strided`; a study has a table for each workload
    section  the rows of a study that are compared with one another, where these are not all: an implementation's id
    case     what else tells two rows apart: a layout, a block size
    ladder   whether the study is a ladder: rungs, each climbing to the largest workload that its time allows
    bytes    the compulsory traffic: each input read once, each result written once
    threads  the cores that it kept busy: processor time by elapsed time, rounded
    first_call  seconds, with what the first call compiles and loads
    stats    pytest-benchmark's statistics of a call's seconds: min, median, rounds, iterations, …, and as `data` at
             most 50 of the rounds' times, evenly spaced from the shortest to the longest
    limit    the machine's, where it was measured
    machine  the fingerprint of the machine card that the limit is from
    traffic  what the cache simulator says of the call: lab.traffic.Traffic as JSON; None where it was not asked
    """

    name: str
    suite: str
    study: str
    operation: str
    impl: str
    workload: str
    shape: Mapping[str, int]
    dtype: str
    flops: int
    bytes: int
    threads: int
    first_call: float
    stats: Mapping[str, Any]
    section: str = ""
    case: str = ""
    ladder: bool = False
    faster_than: tuple[str, ...] = ()
    limit: Limit | None = None
    machine: str = ""
    traffic: Mapping[str, Any] | None = None

    @property
    def best(self) -> float:
        """Seconds of the fastest round: what the machine can do when nothing else disturbs it."""
        return float(self.stats["min"])

    @property
    def median(self) -> float:
        return float(self.stats["median"])

    @property
    def samples(self) -> tuple[float, ...]:
        """Seconds of a call in some of the rounds; at least the best and the median."""
        return tuple(self.stats.get("data") or (self.best, self.median))

    @property
    def percent(self) -> float | None:
        """How much of the machine's limit the best round reached; None where no limit was measured."""
        return 100 * self.limit.seconds / self.best if self.limit else None

    @property
    def beyond_limit(self) -> bool:
        """Whether it beats the limit, which no program can: the limit or the count of flops or bytes is wrong."""
        return self.limit is not None and self.best * NOISE < self.limit.seconds

    @property
    def gflops(self) -> float:
        return self.flops / self.best / 1e9

    @property
    def gbytes(self) -> float:
        return self.bytes / self.best / 1e9

    @property
    def work(self) -> int:
        """Operations, or bytes where there are more of these."""
        return max(self.flops, self.bytes)

    @property
    def group(self) -> str:
        """The name of the rows that are compared with one another."""
        return ", ".join(filter(None, (self.study, self.section, self.workload, self.dtype)))

    def to_benchmark(self) -> dict[str, Any]:
        """The record as pytest-benchmark's JSON has it."""
        return {
            "group": self.group,
            "name": self.name,
            "fullname": f"bench_{self.suite}.py::{self.name}",
            "params": None,
            "param": None,
            "extra_info": self.extra_info(),
            "options": {},
            "stats": dict(self.stats),
        }

    def extra_info(self) -> dict[str, Any]:
        """All that pytest-benchmark does not know by itself; what follows from the rest too, for those who read it."""
        info = {key: value for key, value in dataclasses.asdict(self).items() if key not in ("name", "stats")}
        return {**info, **{name: getattr(self, name) for name in _DERIVED}}

    @classmethod
    def from_benchmark(cls, benchmark: Mapping[str, Any]) -> Record:
        return cls.from_json({**benchmark["extra_info"], "name": benchmark["name"], "stats": benchmark["stats"]})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The record of which `data` is `dataclasses.asdict`, with or without what follows from the rest."""
        known = {field.name for field in dataclasses.fields(cls)}
        facts = {key: value for key, value in data.items() if key in known}
        limit = facts.get("limit")
        facts |= {"faster_than": tuple(facts["faster_than"]), "limit": Limit(**limit) if limit else None}
        return cls(**facts)


_DERIVED = ("gflops", "gbytes", "percent")
"""Of a record, what its extra_info repeats."""


@dataclass(frozen=True)
class NotRun:
    """A row without a time, and the reason."""

    suite: str
    study: str
    operation: str
    impl: str
    workload: str
    reason: str
    section: str = ""
    case: str = ""


@dataclass(frozen=True)
class Failure:
    """A benchmark that raised an error or gave a wrong result."""

    name: str
    message: str


@dataclass(frozen=True)
class Results:
    """A run: all that was measured, and what was not, with the reason.

    machine     the machine card that the limits are from, as its to_json() gives it
    conditions  the state of the machine: the noise floor at the start, and what changed until the end
    """

    environment: Environment | None
    records: tuple[Record, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    failures: tuple[Failure, ...] = ()
    interrupted: bool = False
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    machine: Mapping[str, Any] | None = None
    conditions: Conditions | None = None

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        data = self.to_json()
        long = {name: data.pop(name) for name in ("not_run", "benchmarks")}
        lists = [f' "{name}": [\n{_lines(rows)}\n ]' for name, rows in long.items()]
        rest = json.dumps(data, indent=1).removesuffix("\n}")
        save_text(",\n".join([rest, *lists]) + "\n}\n", path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """The results in a file that `save` wrote, or that `pytest benchmarks/ --benchmark-json` did.

        Raises OSError where it cannot be read, and ValueError where it holds something else.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON file: {error}") from None
        if not isinstance(data, dict) or "benchmarks" not in data:
            raise ValueError(f"{path} holds no benchmarks; expected a file that `loopnest bench` wrote")
        try:
            return cls.from_json(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} holds benchmarks of another program than `loopnest bench`: {error!r} in its records"
            ) from None

    def to_json(self) -> dict[str, Any]:
        return {
            "machine_info": dataclasses.asdict(self.environment) if self.environment else {},
            "machine": dict(self.machine) if self.machine else None,
            "conditions": dataclasses.asdict(self.conditions) if self.conditions else None,
            "commit_info": {},
            "benchmarks": [record.to_benchmark() for record in self.records],
            "datetime": self.datetime,
            "version": "5.0.0",  # of pytest-benchmark's format
            "not_run": [dataclasses.asdict(row) for row in self.not_run],
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
            "interrupted": self.interrupted,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Results:
        machine, conditions = data["machine_info"], data.get("conditions")
        return cls(
            environment=msgspec.convert(machine, Environment) if machine else None,
            records=tuple(Record.from_benchmark(b) for b in data["benchmarks"] if _is_ours(b)),
            not_run=tuple(NotRun(**row) for row in data.get("not_run", ())),
            failures=tuple(Failure(**failure) for failure in data.get("failures", ())),
            interrupted=data.get("interrupted", False),
            datetime=data["datetime"],
            machine=data.get("machine"),
            conditions=msgspec.convert(conditions, Conditions) if conditions else None,
        )


def _is_ours(benchmark: Mapping[str, Any]) -> bool:
    """Whether pytest-benchmark's file has it from the fixture `measure`, and not from another test beside these."""
    return "impl" in benchmark["extra_info"]


def _lines(rows: Sequence[Any]) -> str:
    """JSON with a line for each row: small, and what differs between two files is seen."""
    return ",\n".join(map(json.dumps, rows))
