"""Where a call spends its time: the kernel looks every quarter of a millisecond at which instruction the thread is.

By perf_event_open with the kernel's own clock, which virtual machines have too. It tells a loop that is run from one
that is only there: compilers make several of one, for rows with gaps and without, for what is left over.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..layout.counters import Attributes, perf_event_open
from ..layout.counters import why_not_here as why_no_events

PERIOD = 250_000
"""Nanoseconds of the thread's time between two looks."""

_CPU_CLOCK, _SOFTWARE, _SAMPLE_IP = 0, 1, 1
_DISABLED, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 5, 1 << 6
_ENABLE, _DISABLE = 0x2400, 0x2401
_RECORD_SAMPLE = 9
_HEAD, _TAIL = 1024, 1032  # data_head and data_tail in perf_event_mmap_page
_PAGES = 64  # of the ring, a power of two


class Samples(NamedTuple):
    """How often each address was seen: in the file that was asked for, and in others by their names."""

    inside: Counter[int]
    elsewhere: Counter[str]

    @property
    def total(self) -> int:
        return self.inside.total() + self.elsewhere.total()


class CannotSample(Exception):
    """The system lets nobody look; the message says why."""


def sample(call: Callable[[], object], file: Path, seconds: float = 0.15) -> Samples:
    """Repeat the call for so long, and tell where this thread was. Raises CannotSample.

    file  the shared object whose addresses are told, as they stand in the file
    """
    ring = _Ring()
    try:
        end = time.perf_counter() + seconds
        ring.control(_ENABLE)
        while time.perf_counter() < end:
            call()
        ring.control(_DISABLE)
        seen = ring.addresses()
    finally:
        ring.close()
    maps = _maps()
    inside: Counter[int] = Counter()
    elsewhere: Counter[str] = Counter()
    where = os.path.realpath(file)
    for address in seen:
        for start, stop, offset, name in maps:
            if start <= address < stop:
                if name == where:
                    inside[address - start + offset] += 1
                else:
                    elsewhere[Path(name).name] += 1
                break
        else:
            elsewhere["?"] += 1
    return Samples(inside, elsewhere)


def _maps() -> list[tuple[int, int, int, str]]:
    """What is mapped where: from, to, the offset in the file, the file."""
    rows = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        start, stop = (int(x, 16) for x in words[0].split("-"))
        rows.append((start, stop, int(words[2], 16), words[5] if len(words) > 5 else "[anonymous]"))
    return rows


class _Ring:
    """The kernel's ring of samples for this thread."""

    def __init__(self) -> None:
        reason = why_no_events()
        if reason:
            raise CannotSample(reason)
        attributes = Attributes(
            type=_SOFTWARE,
            size=ctypes.sizeof(Attributes),
            config=_CPU_CLOCK,
            sample_period=PERIOD,
            sample_type=_SAMPLE_IP,
            flags=_DISABLED | _EXCLUDE_KERNEL | _EXCLUDE_HV,
        )
        try:
            self._file = perf_event_open(attributes)
        except OSError as error:
            raise CannotSample(f"perf_event_open: {error.strerror}") from None
        try:
            self._map = mmap.mmap(self._file, (1 + _PAGES) * mmap.PAGESIZE)
        except OSError as error:
            os.close(self._file)
            raise CannotSample(f"the ring of samples: {error}") from None

    def control(self, request: int) -> None:
        import fcntl

        fcntl.ioctl(self._file, request, 0)

    def addresses(self) -> list[int]:
        (head,) = struct.unpack_from("=Q", self._map, _HEAD)
        (tail,) = struct.unpack_from("=Q", self._map, _TAIL)
        size = _PAGES * mmap.PAGESIZE
        data = self._map[mmap.PAGESIZE :]
        found = []
        while tail < head:
            at = tail % size
            record = data[at : at + 16] + data[: max(0, at + 16 - size)]
            kind, _, length, address = struct.unpack("=IHHQ", record)
            if kind == _RECORD_SAMPLE:
                found.append(address)
            tail += length
        return found

    def close(self) -> None:
        self._map.close()
        os.close(self._file)
