"""A process that functions are loaded into, and that can be started anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .session import SHOWN, ProcessLimits, Session


class Host:
    """The process that functions are loaded into. It is started when it is needed, and again after it has ended."""

    def __init__(self, file: Path, limits: ProcessLimits, deadline: float, threads: int = 1) -> None:
        self.file, self.limits, self.deadline, self.threads = file, limits, deadline, threads
        self.session: Session | None = None
        self.loaded: dict[str, Mapping[str, Any]] = {}
        self.output, self.printed = b"", 0
        self._requests: dict[str, dict[str, Any]] = {}
        self._tensors = False

    def live(self) -> Session:
        """The session, started where there is none."""
        if self.session is None or self.session.closed:
            self.restart()
        assert self.session is not None
        return self.session

    def restart(self) -> None:
        """End the process, and load the same functions into a new one."""
        self.close()
        self.session = Session(self.file, self.limits, self.deadline, self.threads)
        for key in self._requests:
            self._load(key)
        self.arrive_as_tensors(self._tensors)

    def load(self, key: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Load a function, which calls name by this key; what the process says of it."""
        if key not in self._requests:
            started = self.session is not None and not self.session.closed
            self._requests[key] = {"do": "load", "key": key, **request}
            self.live()
            if started:
                self._load(key)
        return self.loaded[key]

    def _load(self, key: str) -> None:
        assert self.session is not None
        what = "when it was imported" if self._requests[key]["kind"] == "python" else "when it was loaded"
        self.loaded[key] = self.session.ask(self._requests[key], phase=what)

    def limit_calls(self, seconds: float) -> None:
        """Give each call this time."""
        self.limits = ProcessLimits(seconds, self.limits.memory)
        self.live().limits = self.limits

    def arrive_as_tensors(self, tensors: bool) -> None:
        """From now on, arrays come to it as torch's tensors, or as NumPy's arrays."""
        if tensors != self._tensors or tensors:
            self._tensors = tensors
            self.live().ask({"do": "arrive", "tensors": tensors})

    def close(self) -> None:
        """End the process, and keep what it has printed."""
        if self.session is not None:
            self.session.close()
            self.output = (self.output + self.session.output)[:SHOWN]
            self.printed += self.session.printed
            self.session = None
