"""New inputs for each timed call, whose exact results are known without computing them: values change places.

Rows and columns of a product are permuted, elements move on, sums are multiplied by powers of two. Every timed result
is checked at elements drawn anew: a kernel that leaves out one in a hundred is seen in 99 of 100 calls. Some calls,
which the kernel cannot foresee, are checked everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..operation import Operation
from ..verify import Case, wrong_elements
from .kernel import Kernel
from .probes import Probe, probe_of

Array = np.ndarray[Any, Any]

WITNESSES = 512  # Elements of a result that are checked in a timed call
FEW = 1 << 18
"""Elements up to which they are permuted. To move them on is quicker, but of few, two calls might get the same."""

AXES = {"matmul": "mk,kn->mn", "linear": "mk,kn,n->mn", "softmax": "mn->mn", "transpose": "mn->nm"}
"""The axes of the inputs and of the result, as in einsum. Those of the result are permuted."""

ELEMENTWISE = ("mse_backward", "sgd", "momentum", "rmsprop", "adam")
"""Operations besides those with an elementwise fast path whose elements may move on."""

SUMS = ("dot", "sum", "mse")
"""A single sum, which stays the same where elements move: the inputs are multiplied by a power of two, too."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Which elements of the original results became those of these numbers, and by what they were multiplied."""

    sources: Callable[[Array], Array] = np.asarray
    factor: float = 1.0

    def whole(self, probe: Probe) -> Probe:
        """The probe with its exact results and bounds in their new places."""

        def moved(x: Array) -> Array:
            there = x.reshape(-1)[self.sources(np.arange(x.size))].reshape(x.shape)
            return np.asarray(there * self.factor) if self.factor != 1 else np.asarray(there)

        return dataclasses.replace(probe, exact=tuple(map(moved, probe.exact)), bound=tuple(map(moved, probe.bound)))


@functools.lru_cache(maxsize=6)
def timed_probe(operation: Operation, workload: str, dtype: np.dtype[Any]) -> Probe:
    """Made once in a process: the exact result of a large workload takes longer than a check."""
    found = next(w for w in operation.contract.workloads if w.name == workload)
    return probe_of(Case(operation, dtype, tuple(found.shape.items())), "timed")


def way_of(operation: Operation) -> Literal["axes", "elements", "sum", "new"]:
    """How values get other places; "new": the problem is made anew."""
    path = operation.contract.fast_path
    if operation.name in AXES:
        return "axes"
    if operation.name in SUMS:
        return "sum"
    elementwise = operation.name in ELEMENTWISE or (path is not None and path.shapes == "elementwise")
    return "elements" if elementwise else "new"


def rearranged(probe: Probe, rng: np.random.Generator) -> tuple[Probe, Arrangement]:
    """The same problem with values in other places. Its `exact` and `bound` are only of the right shape, unless
    `Arrangement.whole` makes them right."""
    operation, views, size = probe.case.operation, probe.views, probe.views[0].size
    way = way_of(operation)
    if way == "new":
        return probe.renewed(at_end=bool(rng.integers(2))), Arrangement()
    if way == "axes":
        inputs, result = AXES[operation.name].split("->")
        orders = dict(zip(result, map(rng.permutation, probe.exact[0].shape), strict=True))

        def moved(x: Array, axes: str) -> Array:
            for i, axis in enumerate(axes):
                x = x.take(orders[axis], i) if axis in orders else x
            return x

        views = tuple(map(moved, views, inputs.split(",")))
        rows, columns = orders.values()
        width = len(columns)
        arrangement = Arrangement(lambda picks: rows[picks // width] * width + columns[picks % width])
    elif way == "elements" and size <= FEW:
        order = rng.permutation(size)
        views = tuple(x.reshape(-1)[order].reshape(x.shape) for x in views)
        arrangement = Arrangement(order.__getitem__)
    else:
        shift, results = int(rng.integers(1, max(2, size))), probe.exact[0].size
        factor = 2.0 ** int(rng.integers(-20, 21)) if way == "sum" else 1.0
        views = tuple(np.roll(x, shift) * x.dtype.type(factor) for x in views)
        arrangement = Arrangement(lambda picks: (picks - shift) % results, factor ** len(views))
    views = tuple(map(np.ascontiguousarray, views))
    memory = tuple(x.reshape(-1).view(np.uint8) for x in views)
    return dataclasses.replace(probe, views=views, memory=memory, at_end=bool(rng.integers(2))), arrangement


def seems_right(kernel: Kernel, original: Probe, arrangement: Arrangement, rng: np.random.Generator) -> bool:
    """A quick look at the results of the last call, which may say no, but says yes only to what is right nearly
    everywhere."""
    results = kernel.results()
    if way_of(kernel.operation) not in ("axes", "elements") or not results[0].size:
        return False
    picks = rng.integers(0, results[0].size, WITNESSES)
    sources = arrangement.sources(picks)
    compared = zip(results, original.exact, kernel.bound(original), strict=True)
    return not any(
        wrong_elements(r.reshape(-1)[picks], e.reshape(-1)[sources], b.reshape(-1)[sources]).any()
        for r, e, b in compared
    )
