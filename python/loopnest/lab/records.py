"""What a benchmark run gives, as data: records, and the JSON file that holds them.

The file has pytest-benchmark's format, so that its own commands read it too (`pytest-benchmark compare`); what it does
not know lies in each benchmark's extra_info, and in `not_run` and `failures` beside the benchmarks.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


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
    traffic  what the cache simulator says of the call: lab.traffic.Traffic as JSON; None where it was not asked
    stats    pytest-benchmark's statistics of a call's seconds: min, median, rounds, iterations, …
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
    traffic: Mapping[str, Any] | None = None

    @property
    def best(self) -> float:
        """Seconds of the fastest round: what the machine can do when nothing else disturbs it."""
        return float(self.stats["min"])

    @property
    def median(self) -> float:
        return float(self.stats["median"])

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
        """All that pytest-benchmark does not know by itself."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in ("name", "stats")}

    @classmethod
    def from_benchmark(cls, benchmark: Mapping[str, Any]) -> Record:
        info = dict(benchmark["extra_info"])
        stats = {key: value for key, value in benchmark["stats"].items() if key != "data"}
        return cls(name=benchmark["name"], stats=stats, **{**info, "faster_than": tuple(info["faster_than"])})


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
class ThreadPool:
    """The threads that a library runs its loops with, and for a BLAS library the kernels that it has chosen."""

    owner: str
    threads: int
    library: str = ""
    kernel: str = ""

    def __str__(self) -> str:
        about = ", ".join(filter(None, (self.library, self.kernel and f"kernel {self.kernel}")))
        return f"{self.owner} {self.threads}" + (f" ({about})" if about else "")


@dataclass(frozen=True)
class Environment:
    """What the figures were taken on and with."""

    cpu: str
    cores: int
    system: str
    isa: str
    versions: Mapping[str, str]
    pools: tuple[ThreadPool, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Environment:
        pools = tuple(ThreadPool(**pool) for pool in data["pools"])
        return cls(**{**data, "pools": pools, "warnings": tuple(data["warnings"])})


@dataclass(frozen=True)
class Results:
    """A run: all that was measured, and what was not, with the reason."""

    environment: Environment | None
    records: tuple[Record, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    failures: tuple[Failure, ...] = ()
    interrupted: bool = False
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        save_json(self.to_json(), path)

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))

    def to_json(self) -> dict[str, Any]:
        return {
            "machine_info": dataclasses.asdict(self.environment) if self.environment else {},
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
        """The results in a file that `save` wrote, or that `pytest benchmarks/ --benchmark-json` did."""
        machine = data["machine_info"]
        return cls(
            environment=Environment.from_json(machine) if machine else None,
            records=tuple(Record.from_benchmark(benchmark) for benchmark in data["benchmarks"]),
            not_run=tuple(NotRun(**row) for row in data.get("not_run", ())),
            failures=tuple(Failure(**failure) for failure in data.get("failures", ())),
            interrupted=data.get("interrupted", False),
            datetime=data["datetime"],
        )


def save_json(data: Any, path: Path) -> None:
    """Write a JSON file; one that is there already is replaced when the new one is complete."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
