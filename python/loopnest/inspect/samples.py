"""Where a call spends its time: every quarter of a millisecond Linux notes the thread's instruction.

perf_event_open with the kernel's own clock works in virtual machines too. The samples separate a loop that runs from
one that is only there: compilers make several versions of a loop, for strided rows and for contiguous ones.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..layout.counters import DISABLE, DISABLED, ENABLE, USER_ONLY, control, perf_event_open

PERIOD = 250_000
"""Nanoseconds of the thread's time between two samples."""

_CPU_CLOCK, _SOFTWARE, _SAMPLE_IP = 0, 1, 1
_RECORD_SAMPLE = 9
_HEAD = 1024  # of data_head in perf_event_mmap_page
_PAGES = 64  # of the ring buffer, a power of two


class Samples(NamedTuple):
    """How often each address was seen: offsets in the requested file, and other files by name."""

    inside: Counter[int]
    elsewhere: Counter[str]

    @property
    def total(self) -> int:
        return self.inside.total() + self.elsewhere.total()


class CannotSample(Exception):
    """The system allows no samples; the message says why."""


def sample(call: Callable[[], object], file: Path, seconds: float = 0.15) -> Samples:
    """Repeat a call for some seconds of the processor, and sample this thread. Raises CannotSample.

    file  the shared object whose samples are wanted as offsets in it
    """
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
    """The records of the ring, from its beginning: a short trial never fills it."""
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
    mapped = []  # from, to, the offset in the file, the file
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        first, last = (int(number, 16) for number in words[0].split("-"))
        mapped.append((first, last, int(words[2], 16), words[5] if len(words) > 5 else "[anonymous]"))
    inside: Counter[int] = Counter()
    elsewhere: Counter[str] = Counter()
    for address in addresses:
        start, _, offset, file = next((one for one in mapped if one[0] <= address < one[1]), (0, 0, 0, "?"))
        if file == wanted:
            inside[address - start + offset] += 1
        else:
            elsewhere[Path(file).name] += 1
    return Samples(inside, elsewhere)
