"""Running the rung that is looked into: where its time goes, and how much of the machine's limit it reaches.

One thread, as a loop's bound is one core's; the ISA level that was asked for, and its limit, measured in turn with the
rung so that a moment that is slow is slow for both.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import _core
from ..backends.threads import num_threads, set_num_threads
from ..machine.limits import Piece, copying, multiply_adds, reading
from ..operation import Implementation, Workload
from ..verify.problem import Problem
from .records import Measured
from .samples import Samples, sample

LIGHT, HEAVY = 2 << 20, 8 << 20
"""The most bytes of a workload: of operations that move as much as they compute, so that some cache holds it; and of
those with many flops for each byte, such as matmul, whose caches are part of the method."""

FLOPS_PER_BYTE = 8
"""From which on an operation is of the second kind."""

PATIENCE = 0.04
"""Seconds that a call may take."""


@dataclass(frozen=True)
class Trial:
    """A rung on a workload that suits its hot loop, ready to run."""

    implementation: Implementation
    workload: Workload
    dtype: str
    isa: str
    call: functools.partial[None]
    _seen: dict[Path, Samples] = field(default_factory=dict, compare=False, repr=False)

    def samples(self, file: Path) -> Samples:
        """Where its time goes, in a file's addresses; looked at once. Raises samples.CannotSample."""
        if file not in self._seen:
            with _set(self.isa):
                self._seen[file] = sample(self.call, file)
        return self._seen[file]

    def measured(self, seconds: float = 0.25) -> Measured:
        """How fast it is beside the limits, each at its best."""
        contract, shape = self.implementation.operation.contract, self.workload.shape
        itemsize = np.dtype(self.dtype).itemsize
        flops, nbytes = contract.flops(**shape), contract.traffic(itemsize, **shape)
        with _set(self.isa):
            kinds = (
                [Piece(self.call, 1.0)],
                [multiply_adds(self.dtype)],
                _moves(self._footprint(), bool(contract.updates)),
            )
            calls, flops_limit, bytes_limit = _best(kinds, seconds)
        took = 1 / calls
        by_flops, by_bytes = flops / flops_limit, nbytes / bytes_limit
        limit = "peak flops" if by_flops >= by_bytes else f"bandwidth with {_size(self._footprint())}"
        return Measured(
            self.workload.name, took, flops / took, nbytes / took, max(by_flops, by_bytes) / took, limit, self.isa
        )

    def _footprint(self) -> int:
        """Bytes of the arrays that a call touches; what is updated in place is one."""
        arrays = {id(x): x.nbytes for x in self.call.args if isinstance(x, np.ndarray)}
        return sum(arrays.values())


def _moves(nbytes: int, in_place: bool) -> list[Piece]:
    """Loops that do nothing but move bytes, over arrays of so many in all: a sum, a copy, and z = x + 3 y.

    in_place  with x = x + 3 y too, which brings no other line into the cache to be written
    """
    one, half, third = (np.ones(max(nbytes // parts // 4, 64), np.float32) for parts in (1, 2, 3))
    arrays = [(third, third.copy(), third.copy()), *([(half, np.zeros_like(half), half)] if in_place else [])]
    triads = [
        Piece(functools.partial(loop, *three, 1), 3.0 * three[0].nbytes)
        for three in arrays
        for loop in _core.limits["triad"].values()
    ]
    return [reading(one), *copying(half.copy(), half.copy()), *triads]


def _best(kinds: tuple[list[Piece], ...], seconds: float) -> list[float]:
    """The highest rate of each kind of pieces, called in turn; twice each, so that caches hold what they can."""
    best = [0.0 for _ in kinds]
    rounds, end = 0, time.perf_counter() + seconds
    while rounds < 3 or time.perf_counter() < end:
        for n, pieces in enumerate(kinds):
            for piece in pieces:
                best[n] = max(best[n], piece.amount / min(_seconds(piece.run), _seconds(piece.run)))
        rounds += 1
    return best


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _size(nbytes: int) -> str:
    return f"{nbytes / (1 << 20):.3g} MiB" if nbytes >= 1_000_000 else f"{nbytes / 1024:.3g} KiB"


def trial(k: Implementation, dtype: str = "float32", isa: str | None = None) -> Trial | None:
    """The rung on the largest workload that suits; None where it cannot run here, at this ISA level.

    Its result has been held to the operation's bound, but for steps in place, whose results change at every call.
    """
    level = isa or _core.isa()
    if not k.available() or level not in _core.isa_levels():
        return None
    contract, itemsize = k.operation.contract, np.dtype(dtype).itemsize
    chosen: Trial | None = None
    with _set(level):
        rate = 0.0  # work a second, of the workload before
        for workload in sorted(contract.workloads, key=lambda w: contract.traffic(1, **w.shape)):
            nbytes = contract.traffic(itemsize, **workload.shape)
            work = max(contract.flops(**workload.shape), nbytes)
            most = HEAVY if work > FLOPS_PER_BYTE * nbytes else LIGHT
            if chosen is not None and (nbytes > most or (rate and work / rate > PATIENCE)):
                continue
            problem = Problem.sample(k.operation, workload, None, {}, dtype=np.dtype(dtype))
            if not contract.updates:
                problem.check(k)
            args, _ = problem.kernel_arguments()
            call = functools.partial(k.kernel, *args)
            rate = work / min(_seconds(call) for _ in range(3))
            chosen = Trial(k, workload, dtype, level, call)
    return chosen


@contextmanager
def _set(isa: str) -> Iterator[None]:
    """This ISA level and one thread, and what was before again."""
    before, threads = _core.isa(), num_threads()
    _core.set_isa(isa)
    set_num_threads(1)
    try:
        yield
    finally:
        _core.set_isa(before)
        set_num_threads(threads)
