"""Launches of GPU kernels that can be made again: the kernels of a call alone, on arrays that are on the device.

>>> from loopnest.backends.launches import launched, recorded
>>> with recorded() as launches:
...     launched(lambda: print("a kernel runs"))
a kernel runs
>>> for again in launches:
...     again()
a kernel runs
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

_RECORD: ContextVar[list[Launch] | None] = ContextVar("record", default=None)


@dataclass(frozen=True)
class Launch:
    """A launch, which runs its kernel again when it is called.

    memory  what the kernel reads and writes on the device: it stays allocated as long as this object lives
    """

    again: Callable[[], object]
    memory: tuple[Any, ...] = ()

    def __call__(self) -> None:
        self.again()


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Inside, every launch of numba.cuda's and CUDA C++'s rungs is made, and kept in the list in its order."""
    launches: list[Launch] = []
    before = _RECORD.set(launches)
    try:
        yield launches
    finally:
        _RECORD.reset(before)


def launched(again: Callable[[], object], *memory: Any) -> None:
    """Launch a kernel, and keep the launch for `recorded`."""
    again()
    launches = _RECORD.get()
    if launches is not None:
        launches.append(Launch(again, memory))
