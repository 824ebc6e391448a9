"""Explanations that are read from the wrong values: what has the kernel computed instead, and where?"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..arrays import FLOATS
from ..numerics import unit_roundoff
from ..operation import Arguments
from ..process.child.system import ALLOCATED, FREED
from ..verify import POISON, arrays_in, with_arrays, wrong_elements
from ..verify.signature import plan
from .kernel import Kernel, Observation, bits
from .probes import Arrays, Probe, case_of, probe_of, probe_of_case

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
    def error(self) -> float:
        """By root mean squares, as a share of the result's size."""
        return _rms(np.asarray(self.result, self.exact.dtype) - self.exact) / (_rms(self.exact) or 1.0)


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

    def again(self, probe: Probe | None = None, **facts: Any) -> Observation:
        """A call with other values, of the same kind as the wrong one or as this one."""
        return self.kernel.observe((probe or self.probe).renewed(**facts))


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
        total += int(np.count_nonzero(wrong.mask))
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
    seen, known = evidence.seen, plan(evidence.kernel.operation)
    wrong = [w.number for w in evidence.wrong]
    names = [p.name for p in known.of("result") if p.number in wrong]
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
    finite = np.isfinite(exact) & np.isfinite(result) & (np.abs(exact) > 1e-3)
    if np.count_nonzero(finite) > 3:
        factor = _common_factor(np.asarray(result, np.float64)[finite] / np.asarray(exact, np.float64)[finite])
        if factor and abs(factor - 1) > 1e-4:
            return "scaled", f"by {factor:.6g}"
    return _scaled_scalar(evidence, number)


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


def _common_factor(ratios: Array) -> float:
    """The factor that all of these are, or 0."""
    factor = float(np.median(ratios))
    same = factor and math.isfinite(factor) and np.max(np.abs(ratios / factor - 1)) < 1e-3
    return factor if same else 0.0


def _scaled_scalar(evidence: Evidence, number: int) -> Explanation:
    """A result of a few elements: is it off by the same factor for other values too?"""
    ratios: list[float] = []
    for _ in range(4):
        seen = evidence.again()
        if seen.right or not seen.results or seen.results[number].size > 3:
            return None
        with np.errstate(all="ignore"):
            result, exact = (
                np.asarray(seen.results[number], np.float64),
                np.asarray(seen.probe.exact[number], np.float64),
            )
            ratios += (result / exact).flat
    factor = _common_factor(np.array(ratios))
    if not factor or abs(factor - 1) < 0.01:
        return None
    sizes = [f", which is {axis}" for axis, n in evidence.probe.workload.shape.items() if abs(n / factor - 1) < 1e-3]
    return "scaled", f"by {factor:.6g}{sizes[0] if sizes else ''}"


def option(evidence: Evidence) -> Explanation:
    """Another form of the operation, or the same form whatever the option says."""
    case, probe, contract = evidence.probe.case, evidence.probe, evidence.kernel.operation.contract
    if case is None:
        return None
    if case.variation:
        plain = probe_of_case(dataclasses.replace(case, variation=None))
        return (
            ("option-ignored", f"it is wrong with {case.variation}") if evidence.kernel.observe(plain).right else None
        )
    for name, change in contract.variations.items():
        other = change(probe.arguments)
        if evidence.all_near(evidence.seen.results, contract.reference(*other.inputs, **other.options)):
            return "other-form", f"it computes the form {name}"
    return None


# --- rows and columns


def edges(evidence: Evidence) -> Explanation:
    """A row, a column, or what is beyond the last full tile."""
    masks = [w.mask for w in evidence.wrong]
    mask = next((mask for mask in masks if mask.ndim == 2), None)
    if mask is None:
        mask = next((mask for mask in masks if mask.ndim == 1), None)
        if mask is not None and mask.size > 1 and mask[-1] and not mask[: len(mask) // 2].any():
            return "ragged-edges", f"the last {np.count_nonzero(mask)} elements are wrong"
        return None
    m, n = mask.shape
    for name, turned in (("last-row", mask), ("last-column", mask.T)):
        if _only_last(turned):
            return _confirmed_edge(evidence, name)
    rows, columns = _from_on(np.asarray(mask.all(axis=1))), _from_on(np.asarray(mask.all(axis=0)))
    if (rows < m or columns < n) and not mask[:rows, :columns].any():
        places = [f"rows from {rows} on"] * (rows < m) + [f"columns from {columns} on"] * (columns < n)
        return "ragged-edges", f"{' and '.join(places)} are wrong, of {m} x {n}"
    return None


def _only_last(mask: Array) -> bool:
    return bool(len(mask) > 1 and mask[-1].any() and not mask[:-1].any())


def _from_on(wrong: Array) -> int:
    """From which place on all are wrong, where that is not the first; their number where there is none."""
    places = np.flatnonzero(wrong)
    if len(places) and places[0] > 0 and len(places) == len(wrong) - places[0]:
        return int(places[0])
    return len(wrong)


def _confirmed_edge(evidence: Evidence, name: str) -> Explanation:
    """Only the last row or column at other sizes too? Else it is what is beyond the last full tile."""
    if evidence.probe.case is None:
        return (name,)
    case = case_of(evidence.kernel.operation, evidence.probe.dtype, (12,))
    other = Evidence(evidence.kernel, evidence.kernel.observe(probe_of_case(case)))
    mask = next((w.mask for w in other.wrong if w.mask.ndim == 2), None)
    if mask is None:
        return "ragged-edges", f"wrong in the {name.replace('-', ' ')}, for some sizes"
    turned = mask if name == "last-row" else mask.T
    return (name,) if _only_last(turned) else ("ragged-edges", "wrong beyond the last full tile")


# --- fewer bits

FORMATS = {"bfloat16": 8, "float16": 11, "TF32": 11, "float32": 24}
"""Bits of the significand, the leading one too, of formats that numbers may have been put into."""

LINEAR = ("dot", "sum", "add", "matmul", "linear")


def precision(evidence: Evidence) -> Explanation:
    """Has it computed with fewer bits? Inputs of fewer bits have another exact result: is it this one?"""
    wrong, dtype = evidence.wrong, evidence.probe.dtype
    if not wrong or evidence.probe.kind == "special":
        return None
    worst = max(w.error for w in wrong)
    peaks = [float(np.max(np.abs(np.asarray(w.result, w.exact.dtype) - w.exact))) / (_rms(w.exact) or 1) for w in wrong]
    if not np.isfinite(worst) or worst > 0.05 or max(peaks) > 0.1:
        return None
    size = f"the error is {worst:.1e} of the result, by root mean squares"
    for name, significand in FORMATS.items():
        if 2.0**-significand > 4 * unit_roundoff(dtype):
            for how in ("rounded", "cut off"):
                if _is_result_of(evidence, significand, how):
                    text = f"it is the result for inputs {how} to {name}, of {significand} bits"
                    return "lower-precision", size, text
    share = min(np.count_nonzero(w.mask) / w.mask.size for w in wrong)
    many = evidence.kernel.operation.name in LINEAR or all(w.mask.size > 16 for w in wrong)
    if many and share > 0.4 and worst > 8 * unit_roundoff(dtype) and _scales(evidence):
        nearest = min(FORMATS, key=lambda name: abs(math.log2(worst) + FORMATS[name]))
        return "lower-precision", size, f"as of {nearest}, of {FORMATS[nearest]} bits"
    return ("rounding", size) if worst < 1e-3 else None


def _is_result_of(evidence: Evidence, significand: int, how: str) -> bool:
    """Whether the result is far nearer to the result for inputs of fewer bits than to the exact one."""
    given, contract = evidence.probe.arguments, evidence.kernel.operation.contract
    leaves = [_shortened(x, significand, how) for x in arrays_in(given.inputs)]
    with np.errstate(all="ignore"):
        other = contract.reference(*with_arrays(given.inputs, leaves), **given.options)
    return all(
        w._replace(exact=np.asarray(other[w.number], w.exact.dtype)).error < 0.1 * w.error for w in evidence.wrong
    )


def _shortened(x: Array, significand: int, how: str) -> Array:
    """x with significands of fewer bits, and its exponents."""
    if x.dtype not in FLOATS:
        return x
    with np.errstate(all="ignore"):
        fraction, exponent = np.frexp(x)
        whole = fraction * 2.0**significand
        short = (np.rint if how == "rounded" else np.trunc)(whole) / 2.0**significand
        return np.asarray(np.ldexp(short, exponent), x.dtype)


def _scales(evidence: Evidence) -> bool:
    """Whether the error grows with the inputs, as a rounding error does and a constant does not. By a factor that half
    precision has room for."""
    kernel, probe = evidence.kernel, evidence.probe
    if kernel.operation.name not in LINEAR:
        return True
    larger = [(x * 8).astype(x.dtype) for x in arrays_in(probe.arguments.inputs)]
    arguments = Arguments(with_arrays(probe.arguments.inputs, larger), probe.arguments.options)
    seen = kernel.observe(probe_of(kernel.operation, arguments, probe.workload, probe.dtype))
    if seen.right:
        return False
    errors = [w.error for w in Evidence(kernel, seen).wrong]
    return max(errors, default=0.0) > 0.2 * max(w.error for w in evidence.wrong)
