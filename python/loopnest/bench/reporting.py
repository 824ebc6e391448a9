"""A process that measures reports events, lines of JSON; here they become results as they arrive."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

Results = TypeVar("Results")
OnEvent = Callable[[str, Any], None]


def ignore(kind: str, content: Any) -> None:
    """Nobody listens."""


class Collector(Generic[Results]):
    """A run's results so far, made from events.

    results   what the run begins with: a dataclass
    on_event  is called with the kind and the content of each

    An event whose kind is a field of the results adds a row to it, or replaces its value. "running" and "at" name the
    work that begins. Others are for the progress bar.
    """

    def __init__(self, results: Results, on_event: OnEvent = ignore) -> None:
        self._type, self._on_event = type(results), on_event
        self._fields: dict[str, Any] = msgspec.to_builtins(results)
        self.at = ""

    @property
    def results(self) -> Results:
        return msgspec.convert(self._fields, self._type)

    def add(self, kind: str, content: Any) -> None:
        """Take an event; its content is as JSON has it."""
        self._on_event(kind, content)
        if kind in ("running", "at"):
            self.at = content
        elif isinstance(rows := self._fields.get(kind), tuple):
            self._fields[kind] = rows if content in rows else (*rows, content)
        elif kind in self._fields:
            self._fields[kind] = content

    def _is_event(self, line: str) -> bool:
        """Whether a line is a pair of a kind and a content, and fits the field of the results that it is for."""
        try:
            kind, content = msgspec.convert(json.loads(line), tuple[str, Any])
            if kind in self._fields:
                field = typing.get_type_hints(self._type)[kind]
                is_rows = isinstance(self._fields[kind], tuple)
                msgspec.convert(content, typing.get_args(field)[0] if is_rows else field)
        except (ValueError, msgspec.ValidationError, RecursionError):
            return False
        return True

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path | None = None,
        patience: float = threading.TIMEOUT_MAX,
    ) -> tuple[int | None, str]:
        """Run Python in a process of its own: its exit status, None where Ctrl-C ended it; and how it ended, in words.

        command   Python's command line; `--events FD` is added: the process writes an event there as a line of JSON
        folder    where it runs; the current one where it is None
        patience  seconds without an event after which it is ended

        The process is in a session of its own, so that Ctrl-C comes to us alone; what it has reported is kept.
        """
        self.at, (receive, send) = "", os.pipe()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", *command, "--events", str(send)],  # -P: nothing from the current folder
                pass_fds=[send],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
            os.close(send)
            hung = threading.Event()
            try:
                with os.fdopen(receive, encoding="utf-8") as events:
                    for line in watched(events, patience, process, hung):
                        if not line.endswith("\n"):  # a killed process may leave half a line
                            break
                        if not self._is_event(line):
                            return 2, f"the benchmark process wrote what is no event: {line[:100]!r}"
                        self.add(*json.loads(line))
                status: int | None = process.wait()
            except KeyboardInterrupt:
                status = None
                self.add("interrupted", True)
            finally:
                process.kill()
                process.wait()
            output.seek(0)
            code = status or 0
            ended = f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
            ended = f"was ended: it reported nothing for {patience:g} s" if hung.is_set() else ended
            return status, "\n".join([f"the benchmark process {ended}", *output.read().splitlines()[-20:]])


def watched(
    lines: Iterable[str], patience: float, process: subprocess.Popen[bytes], hung: threading.Event
) -> Iterator[str]:
    """The lines as they come. After some seconds without one, the process is killed and `hung` is set."""

    def end() -> None:
        hung.set()
        process.kill()

    timer = threading.Timer(0, end)
    try:
        for line in itertools.chain([""], lines):
            timer.cancel()
            if line:
                yield line
            timer = threading.Timer(patience, end)
            timer.daemon = True
            timer.start()
    finally:
        timer.cancel()
