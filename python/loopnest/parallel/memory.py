"""How much memory the process has in use, as the system counts it."""

from __future__ import annotations

import contextlib
import mmap
import re
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

STATM, STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
INTERVAL = 0.005
"""Seconds between two looks at the resident size."""


def resident() -> int:
    """The process's resident size in bytes: its pages in memory, those of mapped files that it has touched too.

    Where the system does not tell it (it is Linux that does), the largest that it has been.
    """
    try:
        return int(STATM.read_bytes().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return largest()


def largest() -> int:
    """The largest resident size of the process so far, in bytes.

    Linux's ru_maxrss is that of the process which started this one, too, where that was larger; VmHWM is not.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(STATUS.read_bytes().split(b"VmHWM:")[1].split()[0]) * 1024
    told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return told if sys.platform == "darwin" else told * 1024  # macOS counts bytes, others KiB


def let_go(*arrays: Any) -> None:
    """Take mapped arrays' pages out of the resident size: they stay in the system's cache and in the file."""
    for array in arrays:
        mapping = getattr(array, "_mmap", None)
        if isinstance(array, np.memmap) and isinstance(mapping, mmap.mmap) and array.mode != "c":
            with contextlib.suppress(OSError, ValueError, AttributeError):
                mapping.madvise(mmap.MADV_DONTNEED)


class Watch:
    """Inside, a thread looks at the resident size; `peak` is the largest that was.

    The system keeps the largest of the process's whole life, to the page: where that has grown, it is the peak, however
    short it was. Else the peak is the largest of the looks, some 200 a second.
    """

    def __init__(self) -> None:
        self.peak = 0
        self.storage_read: int | None = None

    def __enter__(self) -> Watch:
        self._largest, self._fetched = largest(), _fetched()
        self.peak = resident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="loopnest-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end.set()
        self._thread.join()
        if (now := largest()) > self._largest:
            self.peak = max(self.peak, now)
        fetched = _fetched()
        if fetched is not None and self._fetched is not None:
            self.storage_read = fetched - self._fetched

    def _look(self) -> None:
        while not self._end.wait(INTERVAL):
            self.peak = max(self.peak, resident())


def _fetched() -> int | None:
    """Bytes that the process has had fetched from storage so far."""
    try:
        told = dict(line.split(b": ") for line in Path("/proc/self/io").read_bytes().splitlines())
        return int(told[b"read_bytes"])
    except (OSError, ValueError, KeyError):
        return None


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", 1)}


def parse_size(text: str) -> int:
    """Bytes, of a number with a unit: 1GiB, 200 MB, 1.5g, 4096.

    >>> parse_size("1GiB"), parse_size("200 MB"), parse_size("1.5k")
    (1073741824, 200000000, 1500)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    if not found or found[2] not in UNITS:
        raise ValueError(f"{text!r} is no size: expected a number with a unit, such as 1GiB, 200MB or 4096")
    return int(float(found[1]) * UNITS[found[2]])


def size_text(size: float) -> str:
    """Bytes in three digits.

    >>> size_text(2**30), size_text(61_440_000), size_text(17)
    ('1.00 GiB', '58.6 MiB', '17 bytes')
    """
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if abs(size) >= 1024**power:
            shown = size / 1024**power
            return f"{shown:.{max(0, 2 - len(str(int(shown))) + 1)}f} {unit}"
    return f"{size:.0f} bytes"
