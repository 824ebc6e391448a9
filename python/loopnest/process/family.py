"""A process and all that come from it, as the system sees them (/proc): their numbers, their processor time.

All of a submission's processes count, wherever they hide: in other groups of processes, as orphans, in chains in which
each starts the next.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import time
from collections.abc import Mapping

from .child.system import children

CROWD = 200  # Processes at which a submission is ended
ROUNDS = 50  # of stopping: a process may start another one meanwhile

Times = Mapping[int, float]
"""Seconds that each process had a processor so far, by its number."""


class Family:
    """The process `first`, and all others that descend from its parent.

    others  those that `stop` has stopped, without the first
    """

    def __init__(self, parent: int, first: int) -> None:
        self.parent, self.first = parent, first
        self.others: tuple[int, ...] = ()

    def members(self) -> list[int]:
        """Their numbers, wherever they hide; also of those that ended and that nobody has waited for."""
        found: list[int] = []
        new = children(self.parent)
        while new and len(found) < 4 * CROWD:
            found += new
            new = [child for pid in new for child in children(pid)]
        return found

    def stop(self) -> None:
        """Stop all: again and again, since one that is not stopped yet may start another."""
        send(-self.first, signal.SIGSTOP)
        stopped = {self.first}
        for _ in range(ROUNDS):
            new = [pid for pid in self.members() if pid not in stopped]
            for pid in new:
                send(pid, signal.SIGSTOP)
            stopped.update(new)
            if not new:
                break
        self.others = tuple(stopped - {self.first})

    def go_on(self) -> None:
        """Let all that were stopped go on."""
        for pid in (-self.first, *self.others):
            send(pid, signal.SIGCONT)

    def stopped_times(self) -> Times:
        """The times of those that were stopped."""
        return {pid: processor_time(pid) for pid in (self.first, *self.others)}

    def times(self) -> Times:
        """The times of all that are there."""
        return {pid: processor_time(pid) for pid in self.members()}

    def reaped(self) -> str:
        """A text that changes when the first process has waited for a child, or ignores the ends of children: their
        processor time is lost then. For the former it is the children's page faults, field 11 of proc_pid_stat(5)."""
        ignored = [line for line in _text(self.first, "status").splitlines() if line.startswith(("SigIgn", "SigCgt"))]
        forgets = any(int(line.split()[1], 16) >> (signal.SIGCHLD - 1) & 1 for line in ignored)
        return f"forgets at {time.perf_counter()}" if forgets else "".join(_words(self.first, "stat")[8:9])

    def waited_for(self) -> float:
        """Processor seconds of the children that the first process has waited for, in steps of 10 ms."""
        return sum(map(int, _words(self.first, "stat")[13:15])) / os.sysconf("SC_CLK_TCK")

    def state(self) -> str:
        """The first process's, as in proc_pid_stat(5)."""
        return (_words(self.first, "stat") or "X")[0]

    def resident(self) -> int:
        """Bytes of memory of the first process's own, less what it shares with others."""
        _, resident, shared, *_ = map(int, _words(self.first, "statm") or "000")
        return (resident - shared) * mmap.PAGESIZE

    def queued(self) -> float:
        """Seconds that the first process's main thread and this one have waited for a processor."""
        return queued(self.first) + queued("thread-self")


def queued(task: int | str) -> float:
    """Seconds that the main thread of a process has waited for a processor; 0 where that is not known."""
    return int((_text(task, "schedstat").split() or "00")[1]) * 1e-9


def between(before: Times, after: Times) -> float:
    """Seconds that processes had a processor from one look to the next; those that have ended since do not count.

    >>> between({1: 2.0, 2: 5.0}, {1: 2.5, 3: 0.25})
    0.75
    """
    return sum(max(0.0, seconds - before.get(pid, 0.0)) for pid, seconds in after.items())


def processor_time(pid: int) -> float:
    """Seconds that a process's threads had a processor; 0 where it has gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
    except OSError:
        return 0.0


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have gone; to its whole group where the number is negative."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _text(pid: int | str, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _words(pid: int | str, name: str) -> list[str]:
    """The words of a file of /proc, behind the program's name; none where there is no such file."""
    return _text(pid, name).rpartition(")")[2].split()
