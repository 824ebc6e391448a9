"""Where a rung spends its time: every quarter of a millisecond Linux notes the thread's instruction.

perf_event_open with the kernel's own clock works in virtual machines too. The samples separate a loop that runs from
one that is only there: compilers make several versions of a loop, for strided rows and for contiguous ones.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import _core
from ..arrays import dtype_called
from ..backends.threads import num_threads, set_num_threads
from ..layout.counters import DISABLE, DISABLED, ENABLE, USER_ONLY, control, perf_event_open
from ..operation import Implementation, Workload
from ..timing.budget import fitting
from ..timing.turns import seconds_of

LONGEST = 0.04
"""Seconds that a call may take."""

MOST_BYTES = 8 << 20
"""Of the arrays of a call."""

PERIOD = 250_000
"""Nanoseconds of the thread's time between two samples."""

_CPU_CLOCK, _SOFTWARE, _SAMPLE_IP = 0, 1, 1
_RECORD_SAMPLE = 9
_HEAD = 1024  # of data_head in perf_event_mmap_page
_PAGES = 64  # of the ring buffer, a power of two


class Samples(NamedTuple):
    """How often each address was seen: in the requested file, as its symbols count them; and other files by name."""

    inside: Counter[int]
    elsewhere: Counter[str]


class CannotSample(Exception):
    """The rung does not run here, or the system allows no samples; the message says why."""


def samples_of(k: Implementation, dtype: str, isa: str, file: Path) -> Samples:
    """Run a rung with one thread at an ISA level, on a workload that suits, and sample it. Raises CannotSample.

    file  the shared object whose samples are wanted by address
    """
    if not k.available() or isa not in _core.isa_levels():
        raise CannotSample(f"{k.id} does not run here at level {isa}")
    before, threads = _core.isa(), num_threads()
    _core.set_isa(isa)
    set_num_threads(1)
    try:
        return sample(call_of(k, largest_quick(k, dtype), dtype), file)
    finally:
        _core.set_isa(before)
        set_num_threads(threads)


def largest_quick(k: Implementation, dtype: str = "float32") -> Workload:
    """The largest workload with a short call and arrays that a cache may hold."""

    def measure(workload: Workload) -> float:
        call = call_of(k, workload, dtype)
        return min(seconds_of(call) for _ in range(3))

    contract, itemsize = k.operation.contract, dtype_called(dtype).itemsize
    return fitting(contract, LONGEST, measure, itemsize=itemsize, most_bytes=MOST_BYTES)[-1]


def call_of(k: Implementation, workload: Workload, dtype: str = "float32") -> Callable[[], object]:
    """A call with random inputs that allocates no results, where these are arrays."""
    contract = k.operation.contract
    arguments = contract.sample(workload, dtype_called(dtype), np.random.default_rng(0))
    out = k(*arguments.inputs, **arguments.options)
    arrays = all(isinstance(x, np.ndarray) for x in (out if isinstance(out, tuple) else (out,)))
    given = {"out": out} if arrays and not contract.updates else {}
    return functools.partial(k, *arguments.inputs, **arguments.options, **given)


def sample(call: Callable[[], object], file: Path, seconds: float = 0.15) -> Samples:
    """Repeat a call for some seconds of the processor, and sample this thread. Raises CannotSample."""
    what = {"type": _SOFTWARE, "config": _CPU_CLOCK, "sample_period": PERIOD, "sample_type": _SAMPLE_IP}
    try:
        events = perf_event_open(**what, flags=DISABLED | USER_ONLY)
    except OSError as error:
        raise CannotSample(f"perf_event_open: {error.strerror}") from None
    try:
        with mmap.mmap(events, (1 + _PAGES) * mmap.PAGESIZE) as ring:
            end = time.thread_time() + seconds
            control(events, ENABLE)
            while time.thread_time() < end:
                call()
            control(events, DISABLE)
            addresses = _addresses(ring)
    except OSError as error:
        raise CannotSample(f"the ring buffer of samples: {error}") from None
    finally:
        os.close(events)
    return _by_file(addresses, os.path.realpath(file))


def _addresses(ring: mmap.mmap) -> list[int]:
    """The records of the ring, from its beginning: a short run never fills it."""
    (head,) = struct.unpack_from("=Q", ring, _HEAD)
    found, at = [], mmap.PAGESIZE
    end = at + min(head, _PAGES * mmap.PAGESIZE)
    while at + 16 <= end:
        kind, _, length, address = struct.unpack_from("=IHHQ", ring, at)
        if kind == _RECORD_SAMPLE:
            found.append(address)
        at += max(length, 8)
    return found


def _by_file(addresses: list[int], wanted: str) -> Samples:
    mapped = []  # from, to, the file
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        first, last = (int(number, 16) for number in words[0].split("-"))
        mapped.append((first, last, words[5] if len(words) > 5 else "[anonymous]"))
    start = min((first for first, _, file in mapped if file == wanted), default=0)  # a shared object begins at 0
    inside: Counter[int] = Counter()
    elsewhere: Counter[str] = Counter()
    for address in addresses:
        file = next((file for first, last, file in mapped if first <= address < last), "?")
        if file == wanted:
            inside[address - start] += 1
        else:
            elsewhere[Path(file).name] += 1
    return Samples(inside, elsewhere)
