"""New inputs for each timed call, whose exact results are known without computing them: values change places.

Rows and columns of a product are permuted, elements move on, sums are multiplied by powers of two. Every timed result
is checked: a product by a random projection (Freivalds, *Probabilistic machines can use less running time*, IFIP 1977),
others at elements drawn anew; and some calls, which the kernel cannot foresee, everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..operation import Operation, Workload
from ..verify import Case, wrong_elements
from .kernel import Kernel
from .probes import Probe, probe_of

Array = np.ndarray[Any, Any]

WITNESSES = 512  # Elements of a result that are checked in a timed call
FEW = 1 << 18
"""Elements up to which they are permuted. To move them on is quicker, but of few, two calls might get the same."""

How = Literal["product", "rows", "transposed", "roll", "scale", "scale squared", "new"]

REARRANGED: Mapping[str, How] = {
    **dict.fromkeys(("matmul", "linear"), "product"),
    "softmax": "rows",
    "transpose": "transposed",
    **dict.fromkeys(("dot", "sum"), "scale"),
    "mse": "scale squared",
    **dict.fromkeys(("mse_backward", "sgd", "momentum", "rmsprop", "adam"), "roll"),
}
"""How values get other places, by operation. "rows", "transposed": rows and columns are permuted. "roll": elements move
on. "scale": one input, or all, is multiplied by a power of two too, which rounds nothing, so that a single sum is
another one. "new": the problem is made anew."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where the values of a problem's results went, and by what they were multiplied."""

    rows: Array | None = None
    columns: Array | None = None
    order: Array | None = None
    shift: int = 0
    factor: float = 1.0

    def sources(self, picks: Array, shape: Sequence[int]) -> Array:
        """Where the elements of these numbers came from, in a result of this shape."""
        if self.order is not None:
            return np.asarray(self.order[picks])
        if self.rows is not None and self.columns is not None:
            return np.asarray(self.rows[picks // shape[1]] * shape[1] + self.columns[picks % shape[1]])
        return np.asarray((picks - self.shift) % math.prod(shape))

    def whole(self, probe: Probe) -> Probe:
        """The probe with its exact results and bounds in their new places."""

        def moved(x: Array) -> Array:
            there = x.reshape(-1)[self.sources(np.arange(x.size), x.shape)].reshape(x.shape)
            return np.asarray(there * self.factor) if self.factor != 1 else np.asarray(there)

        return dataclasses.replace(probe, exact=tuple(map(moved, probe.exact)), bound=tuple(map(moved, probe.bound)))


@dataclass(frozen=True, eq=False)
class Problem:
    """A workload's problem, whose values can be rearranged, with its exact result at hand."""

    workload: Workload
    probe: Probe

    @property
    def how(self) -> How:
        operation = self.probe.case.operation
        path = operation.contract.fast_path
        elementwise = path is not None and path.shapes == "elementwise"
        return REARRANGED.get(operation.name, "roll" if elementwise else "new")

    def rearranged(self, rng: np.random.Generator) -> tuple[Probe, Arrangement]:
        """The same problem with values in other places. Its `exact` and `bound` are only of the right shape, unless
        `Arrangement.whole` makes them right."""
        probe, how, views = self.probe, self.how, self.probe.views
        if how == "new":
            return probe.renewed(at_end=bool(rng.integers(2))), Arrangement()
        if how == "product":
            a, b, *bias = views
            rows, columns = rng.permutation(a.shape[0]), rng.permutation(b.shape[1])
            views = (a[rows], b[:, columns], *(x[columns] for x in bias))
            arrangement = Arrangement(rows, columns)
        elif how in ("rows", "transposed"):
            rows, columns = map(rng.permutation, views[0].shape)
            views = (views[0][rows][:, columns],)
            arrangement = Arrangement(rows, columns) if how == "rows" else Arrangement(columns, rows)
        elif how == "roll" and views[0].size <= FEW:
            order = rng.permutation(views[0].size)
            views = tuple(x.reshape(-1)[order].reshape(x.shape) for x in views)
            arrangement = Arrangement(order=order)
        else:
            shift = int(rng.integers(1, max(2, views[0].size)))
            views = tuple(np.roll(x, shift) for x in views)
            arrangement = Arrangement(shift=shift)
        if how in ("scale", "scale squared"):
            factor = 2.0 ** int(rng.integers(-20, 21))
            scaled = views[:1] if how == "scale" else views
            views = (*(x * x.dtype.type(factor) for x in scaled), *views[len(scaled) :])
            arrangement = Arrangement(factor=factor if how == "scale" else factor**2)
        views = tuple(map(np.ascontiguousarray, views))
        memory = tuple(x.reshape(-1).view(np.uint8) for x in views)
        return dataclasses.replace(probe, views=views, memory=memory, at_end=bool(rng.integers(2))), arrangement

    def seems_right(self, kernel: Kernel, arrangement: Arrangement, rng: np.random.Generator) -> bool:
        """A quick look at the results of the last call, which may say no, but says yes only to what is right nearly
        everywhere."""
        results, probe = kernel.results(), self.probe
        if self.how == "product":
            return near_by_projection(kernel, probe, arrangement, results[0])
        if self.how not in ("roll", "rows", "transposed") or not results[0].size:
            return False
        picks = rng.integers(0, results[0].size, WITNESSES)
        sources = arrangement.sources(picks, results[0].shape)
        compared = zip(results, probe.exact, kernel.bound(probe), strict=True)
        return not any(
            wrong_elements(r.reshape(-1)[picks], e.reshape(-1)[sources], b.reshape(-1)[sources]).any()
            for r, e, b in compared
        )


@functools.lru_cache(maxsize=6)
def problem_of(operation: Operation, workload: str, dtype: np.dtype[Any]) -> Problem:
    """Made once in a process: the exact result of a large workload takes longer than a check."""
    found = next(w for w in operation.contract.workloads if w.name == workload)
    return Problem(found, probe_of(Case(operation, dtype, tuple(found.shape.items())), "timed"))


def near_by_projection(kernel: Kernel, probe: Probe, arrangement: Arrangement, result: Any) -> bool:
    """Freivalds: c v = a (b v) for a random v of 1 and -1, within what independent errors like the bounds add up to.

    Rounding errors stay far below. A result beyond that is looked at everywhere before anything is said.
    """
    assert arrangement.rows is not None
    assert arrangement.columns is not None
    signs = np.where(np.random.default_rng().integers(0, 2, result.shape[1]), 1.0, -1.0)
    placed = np.empty_like(signs)
    placed[arrangement.columns] = signs
    exact = (np.asarray(probe.exact[0], np.float64) @ placed)[arrangement.rows]
    allowed = np.sqrt(np.square(np.asarray(kernel.bound(probe)[0], np.float64)).sum(axis=1))[arrangement.rows]
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(result, np.float64) @ signs - exact)
        return bool((error <= allowed * (1 + 1e-6)).all())
