"""The processor's and the kernel's counts of a call: cycles, instructions, cache misses, page faults.

>>> from loopnest.layout.counters import count
>>> for name, event in count(lambda: sum(range(10_000))).items():       # doctest: +SKIP
...     print(name, event.value if event.reason is None else event.reason)
cycles No such file or directory: this processor, or this virtual machine, has no such counter
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
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

HARDWARE, SOFTWARE, CACHE = 0, 1, 3  # perf_event_attr.type, of linux/perf_event.h
READ_MISSES = 1 << 16  # PERF_COUNT_HW_CACHE_RESULT_MISS of PERF_COUNT_HW_CACHE_OP_READ
EVENTS = {
    "cycles": (HARDWARE, 0),
    "instructions": (HARDWARE, 1),
    "cache references": (HARDWARE, 2),
    "cache misses": (HARDWARE, 3),
    "L1d read misses": (CACHE, 0 | READ_MISSES),
    "dTLB read misses": (CACHE, 3 | READ_MISSES),
    "branch misses": (HARDWARE, 5),
    "task clock, ns": (SOFTWARE, 1),
    "page faults": (SOFTWARE, 2),
}
"""By name: type and config for perf_event_open."""


@dataclass(frozen=True)
class Count:
    """An event's count.

    value   None where it was not counted
    share   of the time that was counted; below 1 the value is an estimate, scaled to the whole time
    reason  why there is no value
    """

    value: int | None
    share: float = 1.0
    reason: str | None = None


def count(call: Callable[[], object], *, calls: int = 1) -> dict[str, Count]:
    """Count the events of some calls: by name, each event's sum over all of them.

    Does not raise for a counter that does not exist: its reason says why. Exceptions of `call` pass through.
    """
    found: dict[str, Count] = dict.fromkeys(EVENTS, Count(None))
    counters: dict[str, int] = {}
    with ExitStack() as open_ones:
        for name, (kind, config) in EVENTS.items():
            try:
                flags = DISABLED | _INHERIT | USER_ONLY
                counters[name] = perf_event_open(kind, config, read_format=_TOTAL_TIMES, flags=flags)
            except OSError as error:
                found[name] = Count(None, 0.0, f"{error.strerror}{HINTS.get(error.errno or 0, '')}")
            else:
                open_ones.callback(os.close, counters[name])
        for counter in counters.values():
            control(counter, ENABLE)
        for _ in range(calls):
            call()
        for counter in counters.values():
            control(counter, DISABLE)
        found |= {name: _count(os.read(counter, 24)) for name, counter in counters.items()}
    return found


def _count(data: bytes) -> Count:
    """data: the value, the ns that the counter was wanted, and the ns that it ran, of 64 bits each."""
    value, wanted, ran = struct.unpack("=QQQ", data)
    if not ran:
        return Count(None, 0.0, "other events held the processor's counters all the time")
    share = min(ran / wanted, 1.0) if wanted else 1.0
    return Count(round(value / share), share)


_NO_SUCH = ": this processor, or this virtual machine, has no such counter"
_FORBIDDEN = ": sudo sysctl kernel.perf_event_paranoid=1 allows it; in Docker also --cap-add PERFMON"
HINTS = {
    **dict.fromkeys((errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV), _NO_SUCH),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _FORBIDDEN),
}
"""What an error of perf_event_open means."""

_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}
_TOTAL_TIMES = 1 | 2  # PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_FORMAT_TOTAL_TIME_RUNNING
DISABLED, _INHERIT, USER_ONLY = 1 << 0, 1 << 1, 1 << 5 | 1 << 6  # user only: exclude_kernel and exclude_hv
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
ENABLE, DISABLE = 0x2400, 0x2401  # PERF_EVENT_IOC_…


def perf_event_open(
    type: int, config: int, sample_period: int = 0, sample_type: int = 0, read_format: int = 0, flags: int = 0
) -> int:
    """A descriptor of an event of this thread, on any processor. Raises OSError.

    The arguments are fields of perf_event_attr, in its first version of 64 bytes.
    """
    if sys.platform != "linux" or platform.machine() not in _SYSTEM_CALLS:
        where = f"{platform.system()} on {platform.machine()}"
        raise OSError(errno.ENOSYS, f"perf_event_open is used on Linux, x86-64 and AArch64; this is {where}")
    asked = struct.pack("=II5Q16x", type, 64, config, sample_period, sample_type, read_format, flags)
    this_thread, any_processor, no_group = ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(-1)
    number, options = ctypes.c_long(_SYSTEM_CALLS[platform.machine()]), ctypes.c_ulong(_CLOSE_ON_EXEC)
    call = ctypes.CDLL(None, use_errno=True).syscall
    descriptor: int = call(number, asked, this_thread, any_processor, no_group, options)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def control(counter: int, request: int) -> None:
    """ENABLE or DISABLE a counter."""
    import fcntl

    fcntl.ioctl(counter, request, 0)


def report(counted: Mapping[str, Count], calls: int) -> list[str]:
    """A call's share of each event, instructions a cycle, and a line for each reason why events are missing."""
    width = max(map(len, counted))
    lines, missing = [], dict[str, list[str]]()
    for name, event in counted.items():
        if event.value is not None:
            note = "" if event.share > 0.999 else f"   estimated: counted {100 * event.share:.0f} % of the time"
            lines.append(f"{name:{width}}  {event.value / calls:>18,.0f}{note}")
        else:
            missing.setdefault(event.reason or "", []).append(name)
    cycles, instructions = (counted.get(name, Count(None)).value for name in ("cycles", "instructions"))
    if cycles and instructions is not None:
        lines.append(f"{'instructions a cycle':{width}}  {instructions / cycles:>18.2f}")
    return lines + [f"not counted: {', '.join(names)}\n  {reason}" for reason, names in missing.items()]
