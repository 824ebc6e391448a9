"""Explanations that are read from the wrong values: what has the kernel computed instead, and where?"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from typing import Any

import numpy as np

from ..numerics import is_float, unit_roundoff
from ..operation import Arguments, Workload
from ..process.child.system import ALLOCATED, FREED
from ..verify import arrays_in, with_arrays
from ..verify.signature import plan
from .kernel import Observation, rms
from .probes import LINEAR, probe_of

Array = np.ndarray[Any, Any]

Explanation = tuple[str, ...] | None
"""A name from faults.toml and the details, or None where it is something else."""


# --- everywhere the same


def own_memory(call: Observation) -> Explanation:
    """Bytes that memory is filled with when it is allocated or freed: nobody has written there since."""
    count = total = 0
    for wrong in call.wrong:
        found = wrong.result[wrong.mask].view(np.uint8).reshape(-1, wrong.result.itemsize)
        count += int(np.count_nonzero((found == ALLOCATED).all(axis=1) | (found == FREED).all(axis=1)))
        total += len(found)
    if count and 2 * count >= total:
        return "unwritten", f"{count} of {total} wrong elements are memory of its own that nobody wrote"
    return None


def constant(call: Observation) -> Explanation:
    """All zeros, all NaN."""
    results = [w.result for w in call.wrong]
    if results and all(r.size > 1 and not r.any() for r in results):
        return ("all-zeros",)
    if results and call.probe.kind != "special" and all(np.isnan(r).all() for r in results):
        return ("all-nan",)
    return None


def one_of_several(call: Observation) -> Explanation:
    """Some results are wrong where the others are right."""
    wrong = [w.number for w in call.wrong]
    names = [p.name for p in plan(call.kernel.operation).of("result") if p.number in wrong]
    if (
        len(wrong) == len(call.results)
        or call.kernel.first_alone
        or not names
        or call.unwritten == sum(r.size for r in call.results)
    ):
        return None
    return "sum-left-out", f"wrong: {', '.join(names)}"


# --- another formula


def other_formula(call: Observation) -> Explanation:
    """Transposed, a term too few, a bias left out: each is computed, and compared with what came."""
    if len(call.wrong) != 1:
        return None
    number, _, result, exact = call.wrong[0]
    formulas: list[tuple[str, Array]] = []
    if call.kernel.operation.name in ("matmul", "linear"):
        a, b, *rest = (np.asarray(x, np.float64) for x in call.probe.views)
        bias = rest[0] if rest else 0.0
        a_turned, b_turned = a.reshape(a.shape[::-1]).T, b.reshape(b.shape[::-1]).T
        formulas = [("transposed", x @ y + bias) for x, y in ((a, b_turned), (a_turned, b), (a_turned, b_turned))]
        if rest:
            formulas.append(("bias-left-out", a @ b))
        if a.shape[1] > 1:
            formulas += [("off-by-one", a[:, part] @ b[part] + bias) for part in (slice(-1), slice(1, None))]
    if result.ndim == 2 and result.size > 1:
        formulas += [("transposed", exact.T), ("transposed", exact.T.reshape(exact.shape))]
    for name, other in formulas:
        if call.near(result, other, number):
            return (name,)
    calls, least = [call], 1e-4
    if result.size <= 3:  # few elements: is it the same factor for other values too? Rounding alone may look like one
        calls, least = [call, *(call.again() for _ in range(4))], 0.01
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
    axes = [f", which is {axis}" for axis, n in call.probe.shape.items() if abs(n / factor - 1) < 1e-3]
    return "scaled", f"by {factor:.6g}{axes[0] if axes else ''}"


def option(call: Observation) -> Explanation:
    """Another form of the operation, or the same form whatever the option says."""
    case, contract = call.probe.case, call.kernel.operation.contract
    if case.variation:
        plain = contract.sample(Workload("", call.probe.shape), call.probe.dtype, np.random.default_rng())
        usual = Arguments(with_arrays(plain.inputs, call.probe.views), plain.options)
        right = call.kernel.observe(probe_of(dataclasses.replace(case, variation=None))).right
        ignored = right and _computes(call, usual)
        return ("option-ignored", f"it is wrong with {case.variation}") if ignored else None
    for name, change in contract.variations.items():
        if _computes(call, change(call.probe.arguments)):
            return "other-form", f"it computes the form {name}"
    return None


def left_out_bias(call: Observation) -> Explanation:
    """Right without the vectors that are added."""
    known, arguments = plan(call.kernel.operation), call.probe.arguments
    biases = [p for p in known.of("input") if re.fullmatch(r"b\d?", p.name) and p.axes == 1]
    for count in range(len(biases), 0, -1):
        for chosen in itertools.combinations(biases, count):
            arrays = [np.array(x) for x in arrays_in(arguments.inputs)]
            for p in chosen:
                arrays[p.number][...] = 0
            if _computes(call, Arguments(with_arrays(arguments.inputs, arrays), arguments.options)):
                return "bias-left-out", f"without {' and '.join(p.name for p in chosen)} the result would be this"
    return None


def _computes(call: Observation, arguments: Arguments) -> bool:
    """Whether every result that is wrong is what the operation gives for these arguments."""
    other = call.kernel.operation.contract.reference(*arguments.inputs, **arguments.options)
    return bool(call.wrong) and all(call.near(w.result, np.asarray(other[w.number]), w.number) for w in call.wrong)


CANCELS = "1 + tanh(u) and 1 + erf(u) cancel far below 0, where a result keeps few bits or none"
PROMISE = "or promise less, openly, in a comment: `loopnest: absolute(1e-6)`"
WRITE_SIGMOID = "write σ(2u) = 1 / (1 + exp(-2u)) for (1 + tanh(u)) / 2"
WRITE_ERFC = "write erfc(-x/√2) / 2 for (1 + erf(x/√2)) / 2"


def cancels(call: Observation) -> Explanation:
    """An error of some roundings of 1, where a sigmoid or a distribution function should be far below 1."""
    name, (x, *_) = call.kernel.operation.name, call.probe.views
    if name not in ("gelu", "gelu_backward", "sigmoid", "sigmoid_backward", "mlp_forward"):
        return None
    through = name == "mlp_forward"  # z and h are its results 1 and 2, and y follows h
    wrong = {w.number: w for w in call.wrong}
    hidden = wrong.get(2 if through else 0)
    if hidden is None or 1 in wrong:
        return None
    x = call.probe.exact[1] if through else x
    scale = 1 + np.abs(x) * np.abs(call.probe.views[1] if name.endswith("_backward") else 1)
    with np.errstate(all="ignore"):
        small = np.abs(hidden.difference) <= 8 * unit_roundoff(call.probe.dtype) * scale
    if not (small & (x < 0))[hidden.mask].all():
        return None
    fix = WRITE_SIGMOID if name.startswith("sigmoid") else f"{WRITE_SIGMOID}, and {WRITE_ERFC}"
    return "rounding", CANCELS, fix, PROMISE


# --- rows and columns


def edges(call: Observation) -> Explanation:
    """A row, a column, or what is beyond the last full tile."""
    mask: Array = max((w.mask for w in call.wrong), key=lambda mask: mask.ndim, default=np.zeros(0, bool))
    if mask.ndim == 1 and mask.size > 1 and mask[-1] and not mask[: mask.size // 2].any():
        return "ragged-edges", f"the last {np.count_nonzero(mask)} elements are wrong"
    if mask.ndim != 2:
        return None
    edge = _edge(mask)
    if edge:
        other = call.kernel.try_sizes(call.probe.dtype, (12,))
        if any(_edge(w.mask) == edge for w in other.wrong):
            return (edge,)
        return "ragged-edges", f"wrong in the {edge.replace('-', ' ')}, for some sizes"
    m, n = mask.shape
    rows, columns = np.max(np.argwhere(~mask) + 1, axis=0, initial=0).tolist()  # beyond these, all are wrong
    if rows and (rows < m or columns < n) and not mask[:rows, :columns].any():
        places = [f"rows from {rows} on"] * (rows < m) + [f"columns from {columns} on"] * (columns < n)
        return "ragged-edges", f"{' and '.join(places)} are wrong, of {m} x {n}"
    return None


def _edge(mask: Array) -> str:
    """Which edge alone has wrong elements, or ""."""
    for name, turned in (("last-row", mask), ("last-column", mask.T)):
        if mask.ndim == 2 and len(turned) > 1 and turned[-1].any() and not turned[:-1].any():
            return name
    return ""


# --- fewer bits

FORMATS = {"bfloat16": 8, "float16 or TF32": 11, "float32": 24}  # bits of the significand, the leading one too


def precision(call: Observation) -> Explanation:
    """Has it computed with fewer bits? Then nearly all elements are wrong, by an error that grows with the inputs."""
    wrong = call.wrong
    if not wrong or call.probe.kind == "special" or not is_float(call.probe.dtype):
        return None
    u = unit_roundoff(call.probe.dtype)
    worst = max(w.error for w in wrong)
    peak = max(float(np.max(np.abs(w.difference))) / (rms(w.exact) or 1) for w in wrong)
    if not (worst <= 0.05 and peak <= 0.1):
        return None
    size = f"the error is {worst:.1e} of the result, by root mean squares"
    share = min(float(np.mean(np.abs(w.difference) > 8 * u * rms(w.exact))) for w in wrong)
    linear = call.kernel.operation.name in LINEAR
    many = linear or all(w.mask.size > 16 for w in wrong)
    grows = True
    if linear and share > 0.4 and worst > 8 * u:  # a constant does not; half precision has room for a factor of 8
        larger = [(x * 8).astype(x.dtype) for x in arrays_in(call.probe.arguments.inputs)]
        arguments = Arguments(with_arrays(call.probe.arguments.inputs, larger), call.probe.arguments.options)
        seen = call.kernel.observe(probe_of(call.probe.case, arguments=arguments))
        grows = max((w.error for w in seen.wrong), default=0.0) > 0.2 * worst
    if many and share > 0.4 and worst > 8 * u and grows:
        nearest = min(FORMATS, key=lambda name: abs(math.log2(worst) + FORMATS[name]))
        return "lower-precision", size, f"as of {nearest}, of {FORMATS[nearest]} bits"
    return ("rounding", size) if worst < max(1e-3, 8 * u) else None
