"""A run's journal: a file that gets a line for everything that a run tells, when it tells it.

A benchmark run may end at any moment, by Ctrl-C, by kill -9, by a full memory. What it had measured is in the journal,
of which at most the last line is cut off. It can be reported and compared like a finished run, and `loopnest bench
--resume` goes on from it.

A line is the JSON of [kind, content]. The kinds are

    run          what was asked for: suites, quick, seconds, select, tests; the first line
    environment  versions and thread pools; the last one counts
    machine      the machine card that the limits are from
    conditions   the noise floor, when it was measured, and with the machine's state at the end; the last one counts
    running      the test that begins
    record       its result; not_run, or failure: why it has none
    finished     the test has ended, with or without a result: a resumed run leaves it out
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..timing.conditions import Conditions
from ..timing.environment import Environment
from .records import Failure, NotRun, Record, Results

SUFFIX = ".journal"


def beside(results: Path) -> Path:
    """The journal of a run that is to write this file.

    >>> beside(Path("some/results.json")).name
    'results.json.journal'
    """
    return results.with_name(results.name + SUFFIX)


@dataclass(frozen=True)
class Run:
    """What a run was asked for."""

    suites: tuple[str, ...]
    quick: bool = False
    seconds: float | None = None
    select: str | None = None
    started: str = ""


class Collected:
    """What a run has told so far.

    >>> collected = Collected()
    >>> collected.add("failure", {"name": "test_gelu[numpy]", "message": "off by one"})
    >>> collected.results().failures
    (Failure(name='test_gelu[numpy]', message='off by one'),)
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.running = ""
        self.finished: set[str] = set()
        self._environment: Environment | None = None
        self._machine: Mapping[str, Any] | None = None
        self._conditions: Conditions | None = None
        self._records: dict[tuple[str, str], Record] = {}  # a test that was cut off after its record is run again
        self._not_run: dict[NotRun, None] = {}
        self._failures: dict[str, Failure] = {}

    def add(self, kind: str, content: Any) -> None:
        if kind == "run":
            self.run = Run(**{**content, "suites": tuple(content["suites"])})
        elif kind == "running":
            self.running = content
        elif kind == "finished":
            self.finished.add(content)
        elif kind == "environment":
            self._environment = msgspec.convert(content, Environment)
        elif kind == "machine":
            self._machine = content
        elif kind == "conditions":
            self._conditions = msgspec.convert(content, Conditions)
        elif kind == "record":
            record = Record.from_json(content)
            self._records[record.suite, record.name] = record
        elif kind == "not_run":
            self._not_run[NotRun(**content)] = None
        elif kind == "failure":
            self._failures[content["name"]] = Failure(**content)

    @property
    def failures(self) -> int:
        """How many there were."""
        return len(self._failures)

    def results(self, interrupted: bool = False) -> Results:
        found = tuple(self._records.values()), tuple(self._not_run), tuple(self._failures.values())
        results = Results(
            self._environment, *found, interrupted=interrupted, machine=self._machine, conditions=self._conditions
        )
        return dataclasses.replace(results, datetime=self.run.started) if self.run and self.run.started else results


class Journal:
    """A journal that is being written. What `tell` has written stays, whatever happens to this process."""

    def __init__(self, path: Path) -> None:
        """Begin a file, or go on with one that is there."""
        self.path = path
        self._file = path.open("a+b")
        if self._file.tell() and not self._ends_a_line():
            self._file.write(b"\n")  # after half a line, which a killed process has left

    def _ends_a_line(self) -> bool:
        self._file.seek(-1, 2)
        return self._file.read(1) == b"\n"

    def tell(self, kind: str, content: Any) -> None:
        self._file.write(line(kind, content).encode())
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def line(kind: str, content: Any) -> str:
    return json.dumps([kind, content]) + "\n"


def is_journal(path: Path) -> bool:
    """Whether the file begins as a journal does, not as a JSON file of results."""
    with path.open("rb") as file:
        return file.read(8) == b'["run", '


def read(path: Path, on_event: Callable[[str, Any], None] = lambda kind, content: None) -> Collected:
    """What a journal holds. A line that was cut off is left out.

    on_event  is called with each line's kind and content

    Raises OSError where it cannot be read, and ValueError where it is no journal.
    """
    if not is_journal(path):
        raise ValueError(f"{path} is no journal of a benchmark run: it does not begin with what was asked for")
    collected = Collected()
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                kind, content = json.loads(text)
            except ValueError:
                continue
            collected.add(kind, content)
            on_event(kind, content)
    return collected


def load(path: Path) -> Results:
    """The results in a JSON file or in a journal; those of a journal count as interrupted.

    Raises OSError where the file cannot be read, and ValueError where it holds something else.
    """
    return read(path).results(interrupted=True) if is_journal(path) else Results.load(path)
