"""The processor's and the kernel's counts of a call: cycles, instructions, cache misses, page faults.

>>> from loopnest.layout.counters import count
>>> counted = count(lambda: sum(range(10_000)))
>>> for event in counted.events:                                       # doctest: +SKIP
...     print(event.name, event.value if event.reason is None else event.reason)
cycles ENOENT: this processor, or this virtual machine, has no such counter
...
page faults 0

Linux only, by the system call perf_event_open, in user mode, for this thread and the threads that it starts from then
on. A counter that does not exist or never ran has a reason and no value. If the processor has fewer counters than there
are events, the kernel lets them take turns: such a value is an estimate, with the share of the time that it covers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import SIMULATED
from ..timing.budget import by_work

PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")

HARDWARE, SOFTWARE, CACHE = 0, 1, 3
"""perf_event_attr.type, of linux/perf_event.h."""


@dataclass(frozen=True)
class Event:
    """An event to count, with its type and config for perf_event_open.

    in_kernel  whether it happens only in the kernel, so that the kernel's share must be counted
    """

    name: str
    type: int
    config: int
    in_kernel: bool = False


def _cache_misses(cache: int) -> int:
    """Misses of reads: PERF_COUNT_HW_CACHE_OP_READ is 0, PERF_COUNT_HW_CACHE_RESULT_MISS 1."""
    return cache | 0 << 8 | 1 << 16


EVENTS = (
    Event("cycles", HARDWARE, 0),
    Event("instructions", HARDWARE, 1),
    Event("cache references", HARDWARE, 2),
    Event("cache misses", HARDWARE, 3),
    Event("L1d read misses", CACHE, _cache_misses(0)),
    Event("dTLB read misses", CACHE, _cache_misses(3)),
    Event("branch misses", HARDWARE, 5),
    Event("task clock, ns", SOFTWARE, 1),
    Event("page faults", SOFTWARE, 2),
    Event("context switches", SOFTWARE, 3, in_kernel=True),
    Event("CPU migrations", SOFTWARE, 4, in_kernel=True),
)
"""The processor's events, then the kernel's."""


@dataclass(frozen=True)
class Count:
    """An event's count.

    value   None where it was not counted
    share   of the time that was counted; below 1 the value is an estimate, scaled to the whole time
    reason  why there is no value, and what would help
    """

    name: str
    value: int | None
    share: float = 1.0
    reason: str | None = None


@dataclass(frozen=True)
class Counted:
    """The events of all calls together."""

    events: tuple[Count, ...]
    calls: int = 1

    def __getitem__(self, name: str) -> Count:
        for event in self.events:
            if event.name == name:
                return event
        raise KeyError(f"no event is called {name!r}; there are {', '.join(e.name for e in self.events)}")

    def ratio(self, above: str, below: str) -> float | None:
        """One event by another, such as instructions by cycles; None where either is missing."""
        one, other = self[above].value, self[below].value
        return one / other if one is not None and other else None


def count(
    call: Callable[[], object], *, calls: int = 1, events: Sequence[Event] = EVENTS, kernel: Any = None
) -> Counted:
    """Count the events of some calls: each event's sum over all of them.

    kernel  has LinuxKernel's functions; tests have one of their own

    Does not raise for a counter that does not exist: its reason says why. Exceptions of `call` pass through.
    """
    if calls < 1:
        raise ValueError(f"count: calls is {calls}, expected 1 or more")
    nowhere = None if kernel else why_not_here()
    kernel = kernel or LinuxKernel()
    counters: dict[Event, int] = {}
    reasons: dict[Event, str] = dict.fromkeys(events, nowhere) if nowhere else {}
    with ExitStack() as open_ones:
        for event in events if not nowhere else ():
            try:
                counters[event] = kernel.open(event)
            except OSError as error:
                reasons[event] = explained(event, error)
            else:
                open_ones.callback(kernel.close, counters[event])
        for counter in counters.values():
            kernel.start(counter)
        for _ in range(calls):
            call()
        for counter in counters.values():
            kernel.stop(counter)
        found = {event: _count(event, kernel.read(counter)) for event, counter in counters.items()}
    return Counted(tuple(found[e] if e in found else Count(e.name, None, 0.0, reasons[e]) for e in events), calls)


def _count(event: Event, data: bytes) -> Count:
    if len(data) != 24:
        return Count(event.name, None, 0.0, f"the kernel gave {len(data)} bytes, expected 24")
    value, wanted, ran = struct.unpack("=QQQ", data)
    if not ran:
        reason = "the kernel never ran it: other events held the processor's counters all the time"
        return Count(event.name, None, 0.0, reason)
    share = min(ran / wanted, 1.0) if wanted else 1.0
    return Count(event.name, round(value / share), share)


def why_not_here() -> str | None:
    """Why nothing can be counted on this system; None on Linux with a known number of the system call."""
    if sys.platform != "linux":
        return f"perf_event_open is Linux's; this is {platform.system()}"
    if platform.machine() not in _SYSTEM_CALLS:
        return f"the number of perf_event_open on {platform.machine()} is not known here"
    return None


_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}


def explained(event: Event, error: OSError) -> str:
    """An error of perf_event_open in words, with a fix where there is one."""
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
        return f"{name}: this processor, or this virtual machine, has no such counter"
    if error.errno in (errno.EACCES, errno.EPERM):
        level, enough = _paranoid(), 1 if event.in_kernel else 2
        if level is not None and level > enough:
            fix = f"allow it with: sudo sysctl kernel.perf_event_paranoid={enough}"
            return f"{name}: kernel.perf_event_paranoid is {level}; {fix}"
        return f"{name}: a container or a security module forbids it; in Docker: --cap-add PERFMON"
    if error.errno == errno.ENOSYS:
        return f"{name}: this kernel, or this sandbox, has no perf_event_open"
    if error.errno == errno.EMFILE:
        return f"{name}: too many open files; raise the limit with: ulimit -n 1024"
    if error.errno == errno.EBUSY:
        return f"{name}: another program holds the counters"
    return f"{name}: {os.strerror(error.errno or 0)}"


def _paranoid() -> int | None:
    try:
        return int(PARANOID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


class Attributes(ctypes.Structure):
    """The first version of perf_event_attr, 64 bytes (PERF_ATTR_SIZE_VER0)."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
    )


_TOTAL_TIMES = 1 | 2  # PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_FORMAT_TOTAL_TIME_RUNNING
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 1, 1 << 5, 1 << 6
_ENABLE, _DISABLE = 0x2400, 0x2401  # PERF_EVENT_IOC_…
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC


def perf_event_open(attributes: Attributes) -> int:
    """A descriptor of an event of this thread, on any processor. Raises OSError."""
    this_thread, any_processor, no_group = ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(-1)
    number, flags = ctypes.c_long(_SYSTEM_CALLS[platform.machine()]), ctypes.c_ulong(_CLOSE_ON_EXEC)
    call = ctypes.CDLL(None, use_errno=True).syscall
    descriptor: int = call(number, ctypes.byref(attributes), this_thread, any_processor, no_group, flags)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


class LinuxKernel:
    """The system calls, through the C library."""

    def open(self, event: Event) -> int:
        """A descriptor of a counter that stands still. Raises OSError."""
        user_only = 0 if event.in_kernel else _EXCLUDE_KERNEL | _EXCLUDE_HV
        attributes = Attributes(
            type=event.type,
            size=ctypes.sizeof(Attributes),
            config=event.config,
            read_format=_TOTAL_TIMES,
            flags=_DISABLED | _INHERIT | user_only,
        )
        return perf_event_open(attributes)

    def start(self, counter: int) -> None:
        self._control(counter, _ENABLE)

    def stop(self, counter: int) -> None:
        self._control(counter, _DISABLE)

    @staticmethod
    def _control(counter: int, request: int) -> None:
        import fcntl

        fcntl.ioctl(counter, request, 0)

    def read(self, counter: int) -> bytes:
        """Three 64-bit numbers: the value, the ns that the counter was wanted, and the ns that it ran."""
        return os.read(counter, 24)

    def close(self, counter: int) -> None:
        os.close(counter)


def count_implementation(implementation: Any, workload: Any, *, calls: int = 5) -> Counted:
    """Count an implementation's kernel on a workload of its operation: `calls` calls, after one that is not counted.

    >>> import loopnest as ln
    >>> from loopnest.layout.counters import count_implementation
    >>> counted = count_implementation(ln.matmul["cpp.packed"], "square-64", calls=2)
    >>> counted.calls
    2

    Threads that exist already, such as the pools of NumPy's BLAS and of loopnest, are not counted: set_num_threads(1).
    Raises ValueError for a workload that the operation does not have, and for a rung that runs in a simulator.
    """
    if implementation.simulated():
        raise ValueError(f"{implementation.id} is {SIMULATED}")

    operation = implementation.operation
    by_name = {known.name: known for known in operation.contract.workloads}
    if str(workload) not in by_name:
        raise ValueError(f"{operation.name}: no workload is called {str(workload)!r}; there are {', '.join(by_name)}")
    arguments = operation.contract.sample(by_name[str(workload)], np.dtype(np.float32), np.random.default_rng(0))
    kernel_calls: list[tuple[Any, ...]] = []
    operation.contract.run(lambda *args: kernel_calls.append(args), *arguments.inputs, **arguments.options)

    def call() -> None:
        for args in kernel_calls:
            implementation.kernel(*args)

    call()
    return count(call, calls=calls)


def default_workload(operation: Any) -> str:
    """A workload whose call takes a while and not long: the first with 65,536 elements of traffic, or the largest."""
    contract = operation.contract
    workloads = by_work(contract)
    return str(next((w for w in workloads if contract.traffic(1, **w.shape) >= 65_536), workloads[-1]).name)


def report(counted: Counted) -> list[str]:
    """A line for each event and ratio, and one for each reason why events are missing."""
    width = max(len(event.name) for event in counted.events)
    lines = []
    for event in counted.events:
        if event.value is not None:
            note = "" if event.share > 0.999 else f"   estimated: counted {100 * event.share:.0f} % of the time"
            lines.append(f"{event.name:{width}}  {event.value / counted.calls:>18,.0f}{note}")
    for name, above, below in (
        ("instructions a cycle", "instructions", "cycles"),
        ("cycles a nanosecond", "cycles", "task clock, ns"),
    ):
        ratio = counted.ratio(above, below) if {above, below} <= {e.name for e in counted.events} else None
        if ratio is not None:
            lines.append(f"{name:{width}}  {ratio:>18.2f}")
    missing: dict[str, list[str]] = {}
    for event in counted.events:
        if event.reason is not None:
            missing.setdefault(event.reason, []).append(event.name)
    lines += [f"not counted: {', '.join(names)}\n  {reason}" for reason, names in missing.items()]
    return lines
