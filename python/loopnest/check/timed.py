"""Timed calls: their values are drawn anew, so that no earlier call can have shown them, and their results are checked
by the call's own inputs, in higher precision.

A result is compared everywhere with the exact one. Of a large product the judge looks at a random projection, drawn
after the call (Freivalds, *Probabilistic machines can use less running time*, IFIP 1977), and at whole rows; of a long
elementwise operation at elements drawn after the call. In some calls, which the kernel cannot foresee, it looks
everywhere there too.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from ..arrays import FLOATS
from ..numerics import likely_errors, precise, unit_roundoff
from ..operation import Arguments, Operation
from ..process.session import Reply
from ..verify import Case, results_of, wrong_elements
from .kernel import Kernel, Observation
from .probes import LARGEST, Arrays, Probe, likely_answer, probe_of

ROWS = 4  # Rows of a large product that are compared with the exact ones in each call
PICKS = 1 << 17  # Elements of a long elementwise result that are
QUICK = {size: work >> 2 for size, work in LARGEST.items()}
"""Operations, or bytes, up to which every result is compared everywhere, by the bytes of an element."""
SLOW = {size: work << 3 for size, work in LARGEST.items()}
"""The same, from which on only a result that seems wrong is."""

PRODUCTS = ("matmul", "linear")
UPDATES = ("sgd", "momentum", "rmsprop", "adam")
"""Elementwise operations besides those with an elementwise fast path."""


@functools.lru_cache(maxsize=6)
def timed_probe(operation: Operation, workload: str, dtype: np.dtype[Any]) -> Probe:
    """A call of this workload. Of its exact results and its bounds only the shapes are known."""
    case = Case(operation, dtype, tuple(operation.workload(workload).shape.items()))
    arguments = case.arguments()
    returned = operation.contract.run(lambda *_: None, *arguments.inputs, **arguments.options)
    shapes = [np.shape(x) for x in results_of(operation, arguments.inputs, returned)]
    return probe_of(case, "timed", unknown=tuple(np.broadcast_to(np.nan, shape) for shape in shapes))


def redrawn(probe: Probe, rng: np.random.Generator, case: Case | None = None, kind: str = "timed") -> Probe:
    """The same call, or that of a case of the same sizes, with other values. Its exact results are not known; `whole`
    computes them."""
    return probe_of(case or probe.case, kind, at_end=bool(rng.integers(2)), unknown=probe.exact)


def whole(probe: Probe) -> Probe:
    """The probe with the exact results of its values, and their bounds."""
    exact, bound = likely_answer(probe.case.operation, probe.arguments)
    return dataclasses.replace(probe, exact=exact, bound=bound)


def judged_in_part(kernel: Kernel, probe: Probe, reply: Reply, rng: np.random.Generator) -> Observation:
    """Hold what the last call left to the contract; of a large product some rows, with that of a special value."""
    probe = known(probe)
    if probe.exact is not probe.bound:
        return kernel.judged(probe, reply)
    if reply.problem is None and _rows_are_right(kernel, probe, rng, kernel.results()[0]):
        return Observation(kernel, probe, reply)
    return kernel.judged(whole(probe), reply)


def known(probe: Probe) -> Probe:
    """The probe with its exact results, except for a large product."""
    large = probe.case.operation.name in PRODUCTS and probe.case.work() > QUICK[probe.dtype.itemsize]
    return probe if large or probe.exact is not probe.bound else whole(probe)


def may_be_looked_at_everywhere(probe: Probe) -> bool:
    """Whether the exact result takes no longer than the judge has once in a while."""
    return probe.case.work() <= SLOW[probe.dtype.itemsize]


def seems_right(kernel: Kernel, probe: Probe, rng: np.random.Generator) -> bool | None:
    """A quick look at the results of the last call. It may say no to what is right, and says yes only to what is right
    nearly everywhere; None where it is as quick to look everywhere, or where there is no quick look."""
    operation, results = kernel.operation, kernel.results()
    if probe.case.work() <= QUICK[probe.dtype.itemsize]:
        return None
    if operation.name in PRODUCTS:
        return _rows_are_right(kernel, probe, rng, results[0]) and _projection_is_right(kernel, probe, rng, results[0])
    path = operation.contract.fast_path
    if operation.name in UPDATES or (path is not None and path.shapes == "elementwise"):
        return _picks_are_right(kernel, probe, rng, results)
    return None


def _within(kernel: Kernel, probe: Probe, results: Any, inputs: Arrays) -> bool:
    """Whether results are right for a part of the probe's inputs."""
    exact, bound = likely_answer(kernel.operation, Arguments(inputs, probe.arguments.options))
    bounds = kernel.bound(dataclasses.replace(probe, exact=exact, bound=bound), results)
    return not any(wrong_elements(r, e, b).any() for r, e, b in zip(results, exact, bounds, strict=True))


def _picks_are_right(kernel: Kernel, probe: Probe, rng: np.random.Generator, results: Any) -> bool:
    """All elements are finite, and those that are drawn are right."""
    picks = rng.integers(0, results[0].size, PICKS)
    finite = all(np.isfinite(r).all() for r in results)
    return finite and _within(
        kernel, probe, [r.reshape(-1)[picks] for r in results], tuple(x.reshape(-1)[picks] for x in probe.views)
    )


def _rows_are_right(kernel: Kernel, probe: Probe, rng: np.random.Generator, result: Any) -> bool:
    """The rows that are drawn are right: a column that is wrong is wrong there."""
    rows, (a, *others), (number, element) = rng.integers(0, len(result), ROWS), probe.views, probe.case.where
    if probe.case.special is not None and number == 0:
        rows[0] = element % a.size // a.shape[1]
    return _within(kernel, probe, [result[rows]], (a[rows], *others))


def _projection_is_right(kernel: Kernel, probe: Probe, rng: np.random.Generator, result: Any) -> bool:
    """c v = a (b v) for a normal vector v, in all rows, within what independent errors as large as their bounds add up
    to. Rounding errors stay far below."""
    v = rng.standard_normal(result.shape[1])
    a, b, *bias = map(precise, probe.views)
    exact = a @ (b @ v) + sum(x @ v for x in bias)
    views = [x if x.dtype in FLOATS else x.astype(np.float32) for x in probe.views]  # in which sums are at least
    absolute = [np.abs(x).sum(axis=-1, keepdims=True) for x in views[1:]]  # the bounds of a row, added up
    with likely_errors():
        (row,) = kernel.operation.contract.bound(views[0], *absolute)
    (bound,) = kernel.bound(dataclasses.replace(probe, bound=(row / len(v),)))
    wide = np.asarray(result, a.dtype)
    if result.dtype.itemsize == 2:  # each element is rounded once more
        bound = bound + unit_roundoff(result.dtype) * np.sqrt(np.mean(np.square(wide), axis=1, keepdims=True))
    with np.errstate(all="ignore"):
        error = np.abs(wide @ v - exact)
        return bool((error <= 2 * np.sqrt(len(v)) * bound[:, 0]).all())  # a NaN is not
