"""Running the inspected rung: where its time goes, and the share of the machine's limit that it reaches.

With one thread, since a loop's bound is one core's, at the requested ISA level. The limit is measured in turn with the
rung, so that a slow moment slows both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..backends.threads import num_threads, set_num_threads
from ..machine import limits
from ..machine.plausible import bandwidth_now
from ..operation import Implementation, Workload
from ..timing.budget import fitting
from ..timing.turns import seconds_of
from .records import Measured
from .samples import Samples, sample

LIGHT, HEAVY = 2 << 20, 8 << 20
"""Bytes of the largest workload: for operations that move as much as they compute, so that a cache holds it; and for
those with many flops a byte, such as matmul, whose method includes the caches."""

FLOPS_PER_BYTE = 8
"""Operations with more are of the second kind."""

LONGEST = 0.04
"""Seconds that a call may take."""

ROUNDS = 5


@dataclass(frozen=True)
class Trial:
    """A rung on a workload that suits its hot loop, ready to run.

    footprint  bytes of the arrays that a call touches
    """

    implementation: Implementation
    workload: Workload
    dtype: str
    isa: str
    call: Callable[[], object]
    footprint: int

    def samples(self, file: Path) -> Samples:
        """Where its time goes, in a file's addresses. Raises samples.CannotSample."""
        with _setting(self.isa):
            return sample(self.call, file)

    def measured(self) -> Measured:
        """Its best speed, and the limits'."""
        contract, shape = self.implementation.operation.contract, self.workload.shape
        flops, nbytes = contract.flops(**shape), contract.traffic(np.dtype(self.dtype).itemsize, **shape)
        took, peak, bandwidth = float("inf"), 0.0, 0.0
        with _setting(self.isa):
            multiply_adds = limits.multiply_adds(self.dtype)
            for _ in range(ROUNDS):
                took = min(took, *(seconds_of(self.call) for _ in range(3)))
                peak = max(peak, limits.best_rate([multiply_adds], seconds=0.02))
                bandwidth = max(bandwidth, bandwidth_now(self.footprint, seconds=0.03))
        by_flops, by_bytes = flops / peak, nbytes / bandwidth
        limit = "peak flops" if by_flops >= by_bytes else f"bandwidth with {self.footprint / 2**20:.3g} MiB"
        share = max(by_flops, by_bytes) / took
        return Measured(self.workload.name, took, flops / took, nbytes / took, share, limit, self.isa)


def trial(k: Implementation, dtype: str = "float32", isa: str | None = None) -> Trial | None:
    """The rung on the largest workload that suits; None if it cannot run here at this ISA level."""
    level = isa or _core.isa()
    if not k.available() or level not in _core.isa_levels():
        return None
    contract, itemsize, found = k.operation.contract, np.dtype(dtype).itemsize, {}

    def measure(workload: Workload) -> float:
        call, footprint = call_of(k, workload, dtype)
        found[workload.name] = Trial(k, workload, dtype, level, call, footprint)
        return min(seconds_of(call) for _ in range(3))

    with _setting(level):
        largest = contract.workloads[-1].shape
        dense = contract.flops(**largest) > FLOPS_PER_BYTE * contract.traffic(itemsize, **largest)
        most = HEAVY if dense else LIGHT
        return found[fitting(contract, LONGEST, measure, itemsize=itemsize, most_bytes=most)[-1].name]


def call_of(k: Implementation, workload: Workload, dtype: str) -> tuple[Callable[[], object], int]:
    """A call that allocates no results, where these are arrays, and the bytes of all its arrays."""
    contract = k.operation.contract
    arguments = contract.sample(workload, np.dtype(dtype), np.random.default_rng(0))
    out = k(*arguments.inputs, **arguments.options)
    results = () if contract.updates else contract.results(out)
    whole = all(isinstance(x, np.ndarray) for x in (out if isinstance(out, tuple) else (out,)))
    given = {"out": out} if whole and not contract.updates else {}
    arrays: list[Any] = [x for x in (*arguments.inputs, *results) if isinstance(x, np.ndarray)]
    return functools.partial(k, *arguments.inputs, **arguments.options, **given), sum(x.nbytes for x in arrays)


@contextmanager
def _setting(isa: str) -> Iterator[None]:
    """This ISA level and one thread; the settings of before afterwards."""
    before, threads = _core.isa(), num_threads()
    _core.set_isa(isa)
    set_num_threads(1)
    try:
        yield
    finally:
        _core.set_isa(before)
        set_num_threads(threads)
