"""Times by a GPU's own clock: events around the launches of a call, after a flush of the L2 cache.

    fill FLUSH bytes    event    launch, launch, …    event

The host issues all of this without waiting. The fill drives the operands out of the L2 cache, so that each sample reads
them from memory. It also keeps the GPU busy while Python issues the launches: a sample whose first event passes before
the last launch was issued would have time of Python's in it. `turn` makes the fill longer until none has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..backends.cuda_device import gpu, on_device
from .turns import Turn

FLUSH = 1 << 30
"""Bytes of a fill: 0.3 ms on an H200, and many times any GPU's L2 cache."""

MOST_FLUSHES = 16

LATE = "Python issues its launches more slowly than the GPU runs them: Python's time is in the figure"


class GpuClock:
    """Times launches on the default stream, which CUDA C++, Numba and torch share. It holds FLUSH bytes of memory."""

    def __init__(self) -> None:
        self._gpu = gpu()
        self._start, self._stop = (self._gpu.call("cuEventCreate", 0) for _ in range(2))
        self._filled = on_device((FLUSH,), np.uint8)

    def sample(self, launches: Sequence[Callable[[], object]], flushes: int = 1) -> tuple[float, bool]:
        """Seconds from the first launch's start to the last one's end, and whether the host was late with one."""
        call = self._gpu.call
        for _ in range(flushes):
            call("cuMemsetD8Async", self._filled.pointer, 0, FLUSH, 0)
        call("cuEventRecord", self._start, 0)
        for launch in launches:
            launch()
        call("cuEventRecord", self._stop, 0)
        late = self._gpu.has_passed(self._start)
        call("cuEventSynchronize", self._stop)  # a kernel's error is reported here
        milliseconds = call("cuEventElapsedTime", self._start, self._stop)
        if not milliseconds > 0:
            raise RuntimeError(
                "its launches are not between the events on the default stream: are they on another one?"
            )
        return 1e-3 * milliseconds, late

    def turn(self, name: str, launches: Sequence[Callable[[], object]]) -> tuple[Turn, str]:
        """A contender of `run_rounds`, warm, and what a reader should know about its figure."""
        flushes, late = 1, True
        self.sample(launches)
        while late and flushes < MOST_FLUSHES:
            late = self.sample(launches, flushes)[1]
            flushes *= 1 + late
        return Turn(name, sample=lambda calls: self.sample(launches, flushes)[0]), LATE if late else ""
