"""What a benchmark run gives, as data: records, and the JSON file that holds them.

The file has pytest-benchmark's format, so that its own commands read it too (`pytest-benchmark compare`). What
pytest-benchmark does not know is in each benchmark's extra_info, and in fields of the file that are named as those of
`Results`. By default it is results.json, next to report.html, in a new folder of loopnest-results/.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Required, TypedDict

import msgspec

from ..layout.traffic import Traffic
from ..machine.limits import TOLERANCE, Limit
from ..machine.records import MachineCard
from ..output.files import Amount, Count, Positive, reading, save_text
from ..timing.conditions import Conditions
from ..timing.environment import Environment

SAMPLES = 50
"""Times kept of a benchmark: enough for an interval of the median, and a tenth of the file that all would make."""


def kept(seconds: Sequence[float], most: int = SAMPLES) -> list[float]:
    """Evenly spaced times in ascending order, with the shortest and the longest.

    >>> kept([5.0, 1.0, 4.0, 3.0, 2.0], most=3)
    [1.0, 3.0, 5.0]
    """
    ordered = sorted(seconds)
    if len(ordered) > most:
        ordered = [ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most)]
    return [float(f"{x:.7g}") for x in ordered]


class Stats(TypedDict, total=False):
    """pytest-benchmark's statistics of a call's seconds; `data` are at most 50 of the rounds' times."""

    min: Required[Positive]
    median: Required[Positive]
    max: Positive
    mean: Positive
    stddev: float
    rounds: Count
    iterations: Count
    iqr: float
    q1: float
    q3: float
    iqr_outliers: int
    stddev_outliers: int
    outliers: str
    ld15iqr: float
    hd15iqr: float
    ops: float
    total: Positive
    data: list[Positive]


@dataclass(frozen=True)
class Record:
    """One implementation, timed on one workload.

    study    what is compared, such as `matmul` or `sum, strided`; a study has a table for each workload
    section  groups the rows of a study that are compared with one another, where these are not all
    case     what else distinguishes two rows: a layout, a block size
    ladder   whether the study is a ladder: rungs, each climbing to the largest workload that its time allows
    bytes    the compulsory traffic: each input read once, each result written once
    threads  the cores that it kept busy: processor time divided by elapsed time, rounded
    first_call  seconds, with what the first call compiles and loads
    stats    min, median, rounds, iterations, …, and as `data` times evenly spaced from the shortest to the longest
    limit    the machine's, where it was measured
    traffic  of the call between the caches, simulated; None where it was not asked for
    note     what a reader should know about its figure: how its results leave the contract
    """

    name: str
    suite: str
    study: str
    operation: str
    impl: str
    workload: str
    shape: Mapping[str, int]
    dtype: str
    flops: Amount
    bytes: Amount
    threads: Amount
    first_call: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    stats: Stats
    section: str = ""
    case: str = ""
    ladder: bool = False
    faster_than: tuple[str, ...] = ()
    limit: Limit | None = None
    traffic: Traffic | None = None
    note: str = ""

    @property
    def best(self) -> float:
        """Seconds of the fastest round: what the machine can do when nothing else disturbs it."""
        return self.stats["min"]

    @property
    def median(self) -> float:
        return self.stats["median"]

    @property
    def seconds(self) -> Sequence[float]:
        """Of a call in some of the rounds; at least the best and the median."""
        return self.stats.get("data") or (self.best, self.median)

    @property
    def percent(self) -> float | None:
        """How much of the machine's limit the best round reached; None where no limit was measured."""
        return 100 * self.limit.seconds / self.best if self.limit else None

    @property
    def beyond_limit(self) -> bool:
        """Whether it beats the limit, which no program can: the limit or the count of flops or bytes is wrong."""
        return self.limit is not None and self.best * TOLERANCE < self.limit.seconds

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

    def extra_info(self) -> dict[str, Any]:
        """All that pytest-benchmark does not know by itself, and rates for programs that compute nothing."""
        info = {key: value for key, value in msgspec.to_builtins(self).items() if key not in ("name", "stats")}
        return {**info, "gflops": self.gflops, "gbytes": self.gbytes, "percent": self.percent}


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
    """A benchmark that raised an error or gave a wrong result, or that cannot run here, and why."""

    name: str
    message: str


@dataclass(frozen=True)
class Check:
    """What a check of rungs on a GPU found.

    kind     "contract", "memcheck" or "racecheck"
    subject  a rung, or the operation whose rungs were checked together
    calls    that were judged
    """

    kind: str
    subject: str
    calls: Amount
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """The best of some copies between the host's memory and a GPU's."""

    what: str
    bytes: Count
    seconds: Positive


@dataclass(frozen=True)
class Clocks:
    """What nvidia-smi reported while a work was timed: MHz of the multiprocessors and of the memory, °C, watts."""

    at: str
    multiprocessors: float
    memory: float
    celsius: float
    watts: float


@dataclass(frozen=True)
class Results:
    """A run: all that was measured, and what was not, with the reason.

    machine     the machine card that the limits are from
    conditions  the state of the machine: the noise floor at the start, and what changed until the end
    checks, transfers, clocks  of a run on a GPU
    rehearsed   whether the simulation took the GPU's place: then there are no times
    """

    environment: Environment | None
    records: tuple[Record, ...]
    not_run: tuple[NotRun, ...] = ()
    failures: tuple[Failure, ...] = ()
    interrupted: bool = False
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    machine: MachineCard | None = None
    conditions: Conditions | None = None
    checks: tuple[Check, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    clocks: tuple[Clocks, ...] = ()
    rehearsed: bool = False

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.datetime)  # msgspec makes the ValueError one of the file's

    def save(self, path: Path) -> None:
        """Write the JSON file, in pytest-benchmark's format."""
        fields = msgspec.to_builtins(self)
        file = {
            "machine_info": fields.pop("environment"),
            "commit_info": {},
            "benchmarks": [_benchmark(record) for record in self.records],
            "version": "5.0.0",  # of pytest-benchmark's format
        }
        del fields["records"]
        save_text(msgspec.json.encode({**file, **fields}).decode(), path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """The results in a run's folder, or in a file that `save` or `pytest benchmarks/ --benchmark-json` wrote.

        Benchmarks that do not use the fixture `measure` are left out.

        Raises ValueError, with the path and the reason, where there are none.
        """
        if path.is_dir():
            path = path / RESULTS
        with reading(path, "file that `loopnest bench` wrote"):
            data = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            file = msgspec.convert(data, _File)
            ours = [b for b in file.benchmarks if "impl" in b.extra_info]
            records = [{**b.extra_info, "name": b.name, "stats": b.stats} for b in ours]
            found = msgspec.convert({**data, "environment": file.machine_info, "records": records}, cls)
        if found.machine and found.machine.lacking():
            raise ValueError(f"{path} is damaged: its machine card lacks {found.machine.lacking()[0]}")
        return found


class _Benchmark(msgspec.Struct):
    name: str
    stats: dict[str, Any]
    extra_info: dict[str, Any]


class _File(msgspec.Struct):
    """What pytest-benchmark's format has of a run."""

    machine_info: dict[str, Any] | None
    benchmarks: list[_Benchmark]


def _benchmark(record: Record) -> dict[str, Any]:
    """The record as pytest-benchmark's JSON has it."""
    return {
        "group": record.group,
        "name": record.name,
        "fullname": f"bench_{record.suite}.py::{record.name}",
        "params": None,
        "param": None,
        "extra_info": record.extra_info(),
        "options": {},
        "stats": record.stats,
    }


FOLDER = Path("loopnest-results")
RESULTS, REPORT = "results.json", "report.html"

REPORT_MARK = b'<meta name="generator" content="loopnest">'
"""Reports of loopnest have this line."""


def new_folder() -> Path:
    """A new folder of a run, in loopnest-results/, named after the time. Raises ValueError where it cannot be made."""
    folder = FOLDER / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"results cannot go to {folder}: {error.strerror}; use --json FILE") from None
    return folder


def report_for(path: Path) -> Path:
    """Where the report of these results goes: report.html in a run's folder, a.html next to a.json.

    Raises ValueError where that is a file which is no report of loopnest's.
    """
    if path.is_dir():
        file = path / REPORT
    else:
        file = path.with_name(REPORT if path.name == RESULTS else path.stem + ".html")
    if file.exists() and REPORT_MARK not in file.read_bytes()[:1000]:
        raise ValueError(f"{file} exists and is no report of loopnest's; name another file with -o")
    return file
