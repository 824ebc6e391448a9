"""Explanations that are read from the wrong values: what has the kernel computed instead, and where?"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..arrays import FLOATS
from ..numerics import unit_roundoff
from ..operation import Arguments
from ..process.child.system import ALLOCATED, FREED
from ..verify import POISON, Case, arrays_in, bits, with_arrays, wrong_elements
from ..verify.signature import plan
from .kernel import Kernel, Observation
from .probes import Arrays, Probe, probe_of, probe_of_case

Array = np.ndarray[Any, Any]

Explanation = tuple[str, ...] | None
"""A name from faults.py and the details, or None where it is something else."""


class WrongResult(NamedTuple):
    """A result that is not within its bound: which one, a mask of its wrong elements, itself, and what is exact."""

    number: int
    mask: Array
    result: Array
    exact: Array

    @property
    def difference(self) -> Array:
        return np.asarray(self.result, self.exact.dtype) - self.exact

    @property
    def error(self) -> float:
        """By root mean squares, as a share of the result's size."""
        return _rms(self.difference) / (_rms(self.exact) or 1.0)


@dataclass(frozen=True)
class Evidence:
    """A wrong call, and the kernel, for further calls."""

    kernel: Kernel
    seen: Observation

    @property
    def probe(self) -> Probe:
        return self.seen.probe

    @functools.cached_property
    def wrong(self) -> list[WrongResult]:
        if not self.seen.results:  # they are kept of wrong calls only
            return []
        compared = zip(self.seen.results, self.probe.exact, self.kernel.bound(self.probe), strict=True)
        found = [WrongResult(i, wrong_elements(r, e, b), r, e) for i, (r, e, b) in enumerate(compared)]
        return [w for w in found if w.mask.any()]

    def near(self, result: Array, other: Any, number: int = 0) -> bool:
        """Whether a result is this other thing instead of what it should be, within some bounds."""
        if other.shape != result.shape:
            return False
        bound = self.kernel.bound(self.probe)[number]
        with np.errstate(all="ignore"):
            slack = 4 * np.max(np.where(np.isfinite(bound), bound, 0), initial=0.0)
            error = np.abs(np.asarray(result, other.dtype) - other)
            return bool(np.all((error <= slack) | (np.isnan(other) & np.isnan(result))))

    def all_near(self, results: Arrays, others: Any) -> bool:
        """The same of several results."""
        pairs = zip(results, others, strict=True)
        return all(self.near(r, np.asarray(other), i) for i, (r, other) in enumerate(pairs))

    def again(self, **facts: Any) -> Observation:
        """A call of the same kind with other values."""
        return self.kernel.observe(self.probe.renewed(**facts))


def _rms(x: Array) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64))))) if x.size else 0.0


# --- everywhere the same


def own_memory(evidence: Evidence) -> Explanation:
    """Bytes that memory is filled with when it is allocated or freed: nobody has written there since."""
    count = total = 0
    for wrong in evidence.wrong:
        found = wrong.result[wrong.mask].view(np.uint8).reshape(-1, wrong.result.itemsize)
        count += int(np.count_nonzero((found == ALLOCATED).all(axis=1) | (found == FREED).all(axis=1)))
        total += len(found)
    if count and 2 * count >= total:
        return "unwritten", f"{count} of {total} wrong elements are memory of its own that nobody wrote"
    return None


def constant(evidence: Evidence) -> Explanation:
    """All zeros, all NaN."""
    results = [w.result for w in evidence.wrong]
    if results and all(r.size > 1 and not r.any() for r in results):
        return ("all-zeros",)
    if results and evidence.probe.kind != "special" and all(np.isnan(r).all() for r in results):
        if any((bits(r) == POISON[r.dtype]).all() for r in results):
            return "unwritten", "all of the result is as it was before the call"
        return ("all-nan",)
    return None


def one_of_several(evidence: Evidence) -> Explanation:
    """Some results are wrong where the others are right."""
    seen, wrong = evidence.seen, [w.number for w in evidence.wrong]
    names = [p.name for p in plan(evidence.kernel.operation).of("result") if p.number in wrong]
    if len(wrong) == len(seen.results) or not names or seen.unwritten == sum(r.size for r in seen.results):
        return None
    return "sum-left-out", f"wrong: {', '.join(names)}"


# --- another formula


def other_formula(evidence: Evidence) -> Explanation:
    """Transposed, a term too few, a bias left out: each is computed, and compared with what came."""
    if len(evidence.wrong) != 1:
        return None
    number, _, result, exact = evidence.wrong[0]
    for name, text, other in _formulas(evidence, result, exact):
        if evidence.near(result, other, number):
            return (name, text) if text else (name,)
    calls, least = [evidence.seen], 1e-4
    if result.size <= 3:  # few elements: is it the same factor for other values too? Rounding alone may look like one
        calls, least = [evidence.seen, *(evidence.again() for _ in range(4))], 0.01
    ratios: list[float] = []
    for seen in calls:
        if seen.right or not seen.results:
            return None
        result, exact = (np.asarray(x[number], np.float64) for x in (seen.results, seen.probe.exact))
        finite = np.isfinite(exact) & np.isfinite(result) & (np.abs(exact) > 1e-3)
        ratios += (result[finite] / exact[finite]).flat
    factor = float(np.median(ratios)) if len(ratios) > 3 else 0.0
    if not factor or abs(factor - 1) < least or np.max(np.abs(np.array(ratios) / factor - 1)) > 1e-3:
        return None
    axes = [f", which is {axis}" for axis, n in evidence.probe.workload.shape.items() if abs(n / factor - 1) < 1e-3]
    return "scaled", f"by {factor:.6g}{axes[0] if axes else ''}"


def _formulas(evidence: Evidence, result: Array, exact: Array) -> Iterator[tuple[str, str, Array]]:
    """What a kernel may have computed instead: a name, how that is seen, and the result."""
    if evidence.kernel.operation.name in ("matmul", "linear"):
        a, b, *rest = (np.asarray(x, np.float64) for x in evidence.probe.views)
        bias = rest[0] if rest else 0.0
        (m, k), n = a.shape, b.shape[1]
        if rest:
            yield "bias-left-out", "", a @ b
        if k > 1:
            yield "off-by-one", "the last term of each sum is missing", a[:, :-1] @ b[:-1] + bias
            yield "off-by-one", "the first term of each sum is missing", a[:, 1:] @ b[1:] + bias
        a_turned, b_turned = a.reshape(k, m).T, b.reshape(n, k).T
        yield "transposed", "b is taken for its transpose", a @ b_turned + bias
        yield "transposed", "a is taken for its transpose", a_turned @ b + bias
        yield "transposed", "both are taken for their transposes", a_turned @ b_turned + bias
    if result.ndim == 2 and result.size > 1:
        if exact.shape[0] == exact.shape[1]:
            yield "transposed", "", exact.T
        yield "transposed", "its elements lie as in the transposed result", exact.T.reshape(exact.shape)


def option(evidence: Evidence) -> Explanation:
    """Another form of the operation, or the same form whatever the option says."""
    case, contract = evidence.probe.case, evidence.kernel.operation.contract
    if case is None:
        return None
    if case.variation:
        plain = probe_of_case(dataclasses.replace(case, variation=None))
        right = evidence.kernel.observe(plain).right
        return ("option-ignored", f"it is wrong with {case.variation}") if right else None
    for name, change in contract.variations.items():
        other = change(evidence.probe.arguments)
        if evidence.all_near(evidence.seen.results, contract.reference(*other.inputs, **other.options)):
            return "other-form", f"it computes the form {name}"
    return None


# --- rows and columns


def edges(evidence: Evidence) -> Explanation:
    """A row, a column, or what is beyond the last full tile."""
    mask: Array = max((w.mask for w in evidence.wrong), key=lambda mask: mask.ndim, default=np.zeros(0, bool))
    if mask.ndim == 1 and mask.size > 1 and mask[-1] and not mask[: mask.size // 2].any():
        return "ragged-edges", f"the last {np.count_nonzero(mask)} elements are wrong"
    if mask.ndim != 2:
        return None
    edge = _edge(mask)
    if edge:
        case = Case.of(evidence.kernel.operation, evidence.probe.dtype, (12,))
        other = Evidence(evidence.kernel, evidence.kernel.observe(probe_of_case(case)))
        if any(_edge(w.mask) == edge for w in other.wrong):
            return (edge,)
        return "ragged-edges", f"wrong in the {edge.replace('-', ' ')}, for some sizes"
    m, n = mask.shape
    rows, columns = (_from_on(np.asarray(mask.all(axis=axis))) for axis in (1, 0))
    if (rows < m or columns < n) and not mask[:rows, :columns].any():
        places = [f"rows from {rows} on"] * (rows < m) + [f"columns from {columns} on"] * (columns < n)
        return "ragged-edges", f"{' and '.join(places)} are wrong, of {m} x {n}"
    return None


def _edge(mask: Array) -> str:
    """Which edge alone has wrong elements, or ""."""
    for name, turned in (("last-row", mask), ("last-column", mask.T)):
        if mask.ndim == 2 and len(turned) > 1 and turned[-1].any() and not turned[:-1].any():
            return name
    return ""


def _from_on(wrong: Array) -> int:
    """From which place on all are wrong, where that is not the first; their number where there is none."""
    right = len(wrong) - int(np.count_nonzero(wrong))
    return right if right > 0 and wrong[right:].all() else len(wrong)


# --- fewer bits

FORMATS = {"bfloat16": 8, "float16": 11, "TF32": 11, "float32": 24}
"""Bits of the significand, the leading one too, of formats that numbers may have been put into."""

LINEAR = ("dot", "sum", "add", "matmul", "linear")


def precision(evidence: Evidence) -> Explanation:
    """Has it computed with fewer bits? Inputs of fewer bits have another exact result: is it this one?"""
    wrong, u = evidence.wrong, unit_roundoff(evidence.probe.dtype)
    if not wrong or evidence.probe.kind == "special":
        return None
    worst = max(w.error for w in wrong)
    peak = max(float(np.max(np.abs(w.difference))) / (_rms(w.exact) or 1) for w in wrong)
    if not (worst <= 0.05 and peak <= 0.1):
        return None
    size = f"the error is {worst:.1e} of the result, by root mean squares"
    for (name, significand), how in itertools.product(FORMATS.items(), ("rounded", "cut off")):
        if 2.0**-significand > 4 * u and _is_result_of(evidence, significand, how):
            return "lower-precision", size, f"it is the result for inputs {how} to {name}, of {significand} bits"
    share = min(np.count_nonzero(w.mask) / w.mask.size for w in wrong)
    linear = evidence.kernel.operation.name in LINEAR
    many = linear or all(w.mask.size > 16 for w in wrong)
    if many and share > 0.4 and worst > 8 * u and (not linear or _scales(evidence, worst)):
        nearest = min(FORMATS, key=lambda name: abs(math.log2(worst) + FORMATS[name]))
        return "lower-precision", size, f"as of {nearest}, of {FORMATS[nearest]} bits"
    return ("rounding", size) if worst < 1e-3 else None


def _is_result_of(evidence: Evidence, significand: int, how: str) -> bool:
    """Whether the result is far nearer to the result for inputs of fewer bits than to the exact one."""

    def shortened(x: Array) -> Array:
        if x.dtype not in FLOATS:
            return x
        fraction, exponent = np.frexp(x)
        whole = (np.rint if how == "rounded" else np.trunc)(fraction * 2.0**significand)
        return np.asarray(np.ldexp(whole / 2.0**significand, exponent), x.dtype)

    given, contract = evidence.probe.arguments, evidence.kernel.operation.contract
    with np.errstate(all="ignore"):
        inputs = with_arrays(given.inputs, map(shortened, arrays_in(given.inputs)))
        other = contract.reference(*inputs, **given.options)
    pairs = ((w, w._replace(exact=np.asarray(other[w.number], w.exact.dtype))) for w in evidence.wrong)
    return all(shorter.error < 0.1 * w.error for w, shorter in pairs)


def _scales(evidence: Evidence, worst: float) -> bool:
    """Whether the error grows with the inputs, as a rounding error does and a constant does not. By a factor that half
    precision has room for."""
    kernel, probe = evidence.kernel, evidence.probe
    larger = [(x * 8).astype(x.dtype) for x in arrays_in(probe.arguments.inputs)]
    arguments = Arguments(with_arrays(probe.arguments.inputs, larger), probe.arguments.options)
    seen = kernel.observe(probe_of(kernel.operation, arguments, probe.workload, probe.dtype))
    return max((w.error for w in Evidence(kernel, seen).wrong), default=0.0) > 0.2 * worst
