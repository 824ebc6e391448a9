"""A run's journal: a file that gets a line for everything that happens in a run, when it happens.

A benchmark run may end at any moment, by Ctrl-C, by kill -9, by a full memory. Its journal has what it had measured; at
most the last line is cut off. It can be reported and compared like a finished run, and `loopnest bench --resume` goes
on from it.

A line is the JSON of [kind, content]. The kinds are

    run          the request: suites, quick, seconds, select; the first line
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..timing.conditions import Conditions
from ..timing.environment import Environment
from .records import Failure, NotRun, Record, Results

SUFFIX = ".journal"


@dataclass(frozen=True)
class Request:
    """What a run was asked for."""

    suites: tuple[str, ...]
    quick: bool = False
    seconds: float | None = None
    select: str | None = None
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat())


TYPES: Mapping[str, Any] = {
    "run": Request,
    "environment": Environment,
    "machine": dict[str, Any],
    "conditions": Conditions,
    "running": str,
    "finished": str,
    "record": Record,
    "not_run": NotRun,
    "failure": Failure,
}
"""The content of a line, by its kind; events of other kinds are for the progress bar."""


class Collected:
    """What has happened in a run so far.

    >>> collected = Collected()
    >>> collected.add("failure", {"name": "test_gelu[numpy]", "message": "off by one"})
    >>> collected.results().failures
    (Failure(name='test_gelu[numpy]', message='off by one'),)
    """

    def __init__(self) -> None:
        self.finished: set[str] = set()
        self._last: dict[str, Any] = {}
        self._rows: dict[str, dict[Any, Any]] = {"record": {}, "not_run": {}, "failure": {}}

    def add(self, kind: str, content: Any) -> None:
        """Take a line's kind and content, as JSON has them. Raises msgspec.ValidationError for another content."""
        if kind not in TYPES:
            return
        found = msgspec.convert(content, TYPES[kind])
        if kind == "finished":
            self.finished.add(found)
        elif kind in self._rows:
            # A test that was cut off after its record is run again, and counts once.
            key = (found.suite, found.name) if kind == "record" else found.name if kind == "failure" else found
            self._rows[kind][key] = found
        else:
            self._last[kind] = found

    @property
    def request(self) -> Request | None:
        request: Request | None = self._last.get("run")
        return request

    @property
    def running(self) -> str:
        """The test that began last."""
        return str(self._last.get("running", ""))

    @property
    def failures(self) -> int:
        return len(self._rows["failure"])

    def results(self, interrupted: bool = False) -> Results:
        records, not_run, failures = (tuple(rows.values()) for rows in self._rows.values())
        last = {name: self._last.get(name) for name in ("environment", "machine", "conditions")}
        results = Results(records=records, not_run=not_run, failures=failures, interrupted=interrupted, **last)  # type: ignore[arg-type]
        return dataclasses.replace(results, datetime=self.request.started) if self.request else results


class Journal(Collected):
    """What has happened in a run, in memory and in this file; goes on with a file that is there.

    What `add` has written stays, whatever happens to this process.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = None
        if path.exists():
            _read_into(self, path)
        self._file = path.open("a", encoding="utf-8")
        if self._file.tell():
            self._file.write("\n")  # a killed process may have left half a line

    def add(self, kind: str, content: Any) -> None:
        super().add(kind, content)
        if self._file and kind in TYPES:
            self._file.write(line(kind, content))
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()


def line(kind: str, content: Any) -> str:
    """A line of a journal; `content` may be a record."""
    return json.dumps([kind, msgspec.to_builtins(content)]) + "\n"


def is_journal(path: Path) -> bool:
    """Whether the file begins as a journal does, not as a JSON file of results."""
    with path.open("rb") as file:
        return file.read(8) == b'["run", '


def _read_into(collected: Collected, path: Path) -> None:
    if not is_journal(path):
        raise ValueError(f"{path} is no journal of a benchmark run: it does not begin with what was asked for")
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                kind, content = json.loads(text)
            except ValueError:  # a line that was cut off
                continue
            collected.add(kind, content)


def read(path: Path) -> Collected:
    """What a journal holds. Raises OSError where it cannot be read, and ValueError where it is no journal."""
    collected = Collected()
    _read_into(collected, path)
    return collected


def load(path: Path) -> Results:
    """The results in a JSON file or in a journal; a journal's results count as interrupted.

    Raises OSError where the file cannot be read, and ValueError where it holds something else.
    """
    return read(path).results(interrupted=True) if is_journal(path) else Results.load(path)
