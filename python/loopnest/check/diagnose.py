"""Names what is wrong: by looks at a wrong result, and by further calls, each of which tells two explanations apart."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FLOATS
from ..backends.compiler import line_of
from ..numerics import unit_roundoff
from ..operation import Arguments
from ..verify import POISON, Case, _leaves, _with_leaves
from .faults import sentence
from .form import plan
from .runner import ALLOCATED, FREED, GUARD
from .session import Crash
from .subject import Run, Subject, Trial, trial_of, trial_of_case

LATER = 0.15
"""Seconds after which results are looked at again, for work that was deferred."""


@dataclass(frozen=True)
class Named:
    """A name, and how it was seen."""

    trick: str
    outcome: str
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return sentence(self.trick)


@dataclass(frozen=True)
class NamedCrash:
    """A crash in words."""

    trick: str | None
    text: str
    outcome: str = "crashed"
    details: tuple[str, ...] = ()


@dataclass
class Failure:
    """A call whose result is wrong, and what further calls can be made."""

    subject: Subject
    run: Run
    cases: Callable[..., Iterator[Case]]

    @property
    def trial(self) -> Trial:
        return self.run.trial


def named(failure: Failure) -> Named:
    """The best name that there is for what is wrong."""
    for look in LOOKS:
        found = _as_named(look(failure))
        if found:
            return found
    return Named("wrong-values", "wrong")


def remembers(failure: Failure) -> Named | None:
    """The name, where what is wrong depends on the calls before."""
    return _as_named(_history_dependent(failure))


def _as_named(found: Found) -> Named | None:
    if not found:
        return None
    trick, *details = found
    return Named(trick, "cheats" if trick in CHEATS else "wrong", tuple(details))


CHEATS = frozenset(
    (
        *("cached-by-identity", "cached-by-pointer", "cached-by-shape", "cached-on-disk", "searches-memory"),
        *("lazy-result", "deferred-work", "skips-after-warm-up", "benchmarked-shapes-only", "small-shapes-only"),
        *("patches-clock", "patches-numpy", "patches-statistics"),
    )
)
"""Tricks whose outcome is "cheats"; the others are "wrong", since they may be honest mistakes."""

Found = Sequence[str] | None


Wrong = tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _wrong(failure: Failure) -> list[Wrong]:
    """Of each wrong result: its number, a mask of what is wrong in it, itself, and what is exact."""
    found = []
    trial = failure.trial
    bounds = failure.subject.bound(trial)
    for i, (result, exact, bound) in enumerate(zip(failure.run.results, trial.exact, bounds, strict=True)):
        mask = wrong_places(result, exact, bound)
        if mask.any():
            found.append((i, mask, result, exact))
    return found


def wrong_places(result: Any, exact: Any, bound: Any) -> np.ndarray[Any, Any]:
    """Where a result is not within its bound."""
    with np.errstate(all="ignore"):
        wide = np.asarray(result, exact.dtype)
        same = (wide == exact) | (np.isnan(wide) & np.isnan(exact))
        near = abs(wide - exact) <= bound
        overflow = np.isinf(wide) & (wide * exact > 0) & (abs(exact) + bound > np.finfo(np.asarray(result).dtype).max)
        return np.asarray(~(same | near | overflow))


def _near(failure: Failure, result: Any, other: Any, number: int = 0) -> bool:
    """Whether a result is another thing than it should be, within some bounds."""
    if other.shape != result.shape:
        return False
    bound = failure.subject.bound(failure.trial)[number]
    with np.errstate(all="ignore"):
        slack = 4 * np.max(np.where(np.isfinite(bound), bound, 0), initial=0.0)
        error = np.abs(np.asarray(result, other.dtype) - other)
        return bool(np.all((error <= slack) | (np.isnan(other) & np.isnan(result))))


# --- looks, in the order in which they are taken


def _outside(failure: Failure) -> Found:
    if failure.run.outside:
        subject = failure.subject
        subject.close()
        subject.start()
        again = subject.run(failure.trial)
        if again.outside:
            return "writes-outside", failure.run.outside
        late = None if again.right else _deferred(dataclasses.replace(failure, run=again))
        return late or ("deferred-work", f"{failure.run.outside}, by an earlier call that had returned")
    return ("changes-input", failure.run.problems[0]) if "changed its input" in failure.run.problems[0] else None


def _deferred(failure: Failure) -> Found:
    """Let it go on for a while, and look whether the result changes after all."""
    subject, trial = failure.subject, failure.trial
    session = subject.session
    if session is None or session.closed or subject.last_trial is not trial:
        return None
    before = [r.copy() for r in subject.results(trial)]
    session.go_on()
    end = time.monotonic() + LATER
    changed = False
    while time.monotonic() < end and not changed:
        time.sleep(0.005)
        changed = any(a.tobytes() != b.tobytes() for a, b in zip(before, subject.results(trial), strict=True))
    if changed:
        time.sleep(LATER)
        session.stop()
        bounds = subject.bound(trial)
        right = not any(
            wrong_places(r, e, b).any() for r, e, b in zip(subject.results(trial), trial.exact, bounds, strict=True)
        )
        told = "the whole result was there a little later" if right else "the result went on changing"
        return _first_call(failure) or ("deferred-work", f"{told}, after the call had returned")
    session.stop()
    return None


def _reads_out(failure: Failure) -> Found:
    """Right when `out` is zero before the call."""
    if failure.subject.operation.contract.updates or not _has_nan(failure):
        return None
    run = failure.subject.run(failure.subject.with_fresh_values(failure.trial), fill="zero")
    if run.right and not failure.subject.run(failure.subject.with_fresh_values(failure.trial)).right:
        return "reads-out", "with zeros in `out` before the call the result is right, with NaN in it, it is not"
    return None


def _has_nan(failure: Failure) -> bool:
    return any(np.isnan(r).any() for r in failure.run.results)


def _unwritten(failure: Failure) -> Found:
    run = failure.run
    total = sum(r.size for r in run.results)
    if not run.unwritten:
        return None
    if run.answer.returned and run.unwritten == total:
        return "ignores-out", "what it returned is another array than the `out` that it was given"
    history = _history_dependent(failure)
    if history:
        return history
    if run.unwritten < total:
        partial = _left_out(failure)
        if partial:
            return partial
    return "unwritten", f"{run.unwritten} of {total} elements were never written"


def _history_dependent(failure: Failure) -> Found:
    """Whether a new process gives the right result for the very call that was wrong, or for its first call."""
    subject = failure.subject
    calls = subject.calls
    subject.close()
    subject.start()
    first = subject.run(failure.trial)
    if not first.right:
        return None
    results = [subject.run(subject.with_fresh_values(failure.trial)) for _ in range(6)]
    wrong = [i for i, run in enumerate(results, 1) if not run.right]
    told = f"in a new process the same call is right; it was wrong as call {calls}"
    if not wrong:
        return _by_count(failure, told)
    cached = _caches(failure, told)
    if cached:
        return cached
    if wrong == list(range(wrong[0], len(results) + 1)) and results[-1].unwritten:
        return "skips-after-warm-up", told, f"and wrong again from call {wrong[0] + 1} on"
    return "not-deterministic", told


def _by_count(failure: Failure, told: str) -> Found:
    """Right for some calls, then never again: count them."""
    subject = failure.subject
    for _ in range(400):
        run = subject.run(subject.with_fresh_values(failure.trial))
        if not run.right:
            again = [subject.run(subject.with_fresh_values(failure.trial)).right for _ in range(3)]
            if not any(again):
                return "skips-after-warm-up", told, "and wrong again after a number of calls, and from then on"
            if run.unwritten:
                return "skips-after-warm-up", told, "and now and then a call does nothing"
            return "not-deterministic", told, "and wrong again now and then"
    return "not-deterministic", told


def _caches(failure: Failure, told: str) -> Found:
    """Right at its first call in a process, wrong when the values are others: what does it remember by?"""
    subject, trial = failure.subject, failure.trial
    previous = subject.with_fresh_values(trial)
    subject.close()
    subject.start()
    subject.run(previous)
    run = subject.run(subject.with_fresh_values(trial))
    if run.right:
        return None
    exact = previous.exact
    stale = all(_near(failure, r, e, i) for i, (r, e) in enumerate(zip(run.results, exact, strict=True)))
    if not stale:
        if run.unwritten:
            return "skips-after-warm-up", told, "the second call left `out` as it was"
        return None
    assert subject.session is not None
    wrote = [e for e in subject.session.ask({"do": "seen"})["events"] if e.startswith("open w")]
    files = [p.name for p in subject.session.folder.rglob("*") if p.is_file()]
    if files or (wrote and subject.language == "python"):
        return "cached-on-disk", told, f"it wrote {(files or wrote)[0]}"
    elsewhere = dataclasses.replace(subject.with_fresh_values(trial), at_end=not trial.at_end)
    if not subject.run(elsewhere).right:
        return "cached-by-shape", told, "the earlier result came back for other arrays of the same shape"
    subject.close()
    subject.start()
    subject.run(subject.with_fresh_values(trial))
    subject.new += 1
    renewed = subject.run(subject.with_fresh_values(trial))
    if not renewed.right:
        return "cached-by-pointer", told, "the earlier result came back for new array objects at the same addresses"
    return "cached-by-identity", told, "the earlier result came back for the same array objects with other values"


def _stale(failure: Failure) -> Found:
    """The result of the call before, always."""
    subject = failure.subject
    trials = [subject.with_fresh_values(failure.trial) for _ in range(4)]
    runs = [subject.run(trial) for trial in trials]
    for before, run in itertools.pairwise(zip(trials, runs, strict=True)):
        results = run[1].results
        if not results or not all(
            _near(failure, r, e, i) for i, (r, e) in enumerate(zip(results, before[0].exact, strict=True))
        ):
            return None
    return "stale-result", "each call gave the result for the inputs of the call before it"


def _first_call(failure: Failure) -> Found:
    """Wrong at the first call in a process, right at all later ones, of a size that leaves work for later."""
    subject, axes = failure.subject, failure.subject.operation.contract.workloads[0].shape

    def run(size: int) -> Run:
        case = Case(subject.operation, failure.trial.dtype, tuple((axis, size) for axis in axes))
        return subject.run(trial_of_case(subject.operation, case, True, "sizes"))

    most = 384 if failure.trial.dtype.itemsize == 4 else 160  # of doubles, the exact result takes long doubles
    size = max(128, min(most, int(64 * (0.05 / max(run(64).answer.processor, 1e-6)) ** (1 / len(axes)))))
    for _ in range(2):  # twice, since a race of threads may look so once
        subject.close()
        subject.start()
        runs = [run(size) for _ in range(6)]
        if runs[0].right or not all(later.right for later in runs[1:]):
            return None
    least = min(later.answer.processor for later in runs[1:])  # on a busy machine all calls take long
    if least < 2 * min(run(size // 4).answer.processor for _ in range(5)):
        return None  # the later calls do no work either, and were lucky
    return "unsynchronised-first-call", "in a new process the first call is wrong, and the next ones are right"


def _patches(failure: Failure) -> Found:
    """Functions of others that it has replaced."""
    patched = failure.subject.seen()["patched"]
    return (patch_trick(patched), ", ".join(patched[:5])) if patched else None


def patch_trick(patched: Sequence[str]) -> str:
    """The name for having replaced these functions."""
    modules = {name.rpartition(".")[0] for name in patched}
    if "time" in modules:
        return "patches-clock"
    if modules & {"numpy", "numpy.linalg", "numpy.testing"}:
        return "patches-numpy"
    return "patches-statistics"


def _searches(failure: Failure) -> Found:
    """It asked the garbage collector or the frames above it for objects that are not its own."""
    session = failure.subject.session
    if failure.subject.language != "python" or session is None or session.closed:
        return None
    session.ask({"do": "watch"})
    failure.subject.run(failure.subject.with_fresh_values(failure.trial))
    doors = [e for e in failure.subject.seen()["events"] if e.startswith(("gc.get", "sys._", "ctypes.string_at"))]
    return ("searches-memory", f"in the call it used {', '.join(doors)}") if doors else None


def _simple(failure: Failure) -> Found:
    """All zeros, all NaN."""
    wrong = _wrong(failure)
    results = [r for _, _, r, _ in wrong]
    if results and all(r.size > 1 and not r.any() for r in results):
        return ("all-zeros",)
    special = failure.trial.kind == "special"
    if results and not special and all(np.isnan(r).all() for r in results):
        if any((_bits(r) == POISON[r.dtype]).all() for r in results):
            return ("unwritten", "all of the result is as it was before the call")
        return ("all-nan",)
    return None


def _own_memory(failure: Failure) -> Found:
    """Bytes with which the runner fills memory that is allocated, or given back: nobody has written there since."""
    count = total = 0
    for _, mask, result, _ in _wrong(failure):
        found = result[mask].view(np.uint8).reshape(-1, result.itemsize)
        count += int(np.count_nonzero((found == ALLOCATED).all(axis=1) | (found == FREED).all(axis=1)))
        total += int(np.count_nonzero(mask))
    if count and 2 * count >= total:
        return "unwritten", f"{count} of {total} wrong elements are memory of its own that nobody wrote"
    return None


def _not_deterministic(failure: Failure) -> Found:
    """The same values twice, and results that differ by more than their bounds allow."""
    subject, trial = failure.subject, failure.trial
    runs = [run for run in (subject.run(trial) for _ in range(6)) if run.answer.problem is None]
    wrong = [run for run in runs if not run.right]
    if len(wrong) < len(runs):
        return "not-deterministic", f"of {len(runs)} more calls with the same inputs, {len(wrong)} are wrong"
    for run in wrong[1:]:
        for a, b, bound in zip(wrong[0].results, run.results, subject.bound(trial), strict=True):
            if wrong_places(a, np.asarray(b, bound.dtype), 2 * bound).any():
                return "not-deterministic", "the same inputs gave two results, and both are wrong"
    return None


def _bits(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x.view(np.dtype(x.dtype.str.replace("f", "u")))


def _special(failure: Failure) -> Found:
    """Wrong only where a NaN, an infinity or a large number comes in."""
    trial = failure.trial
    if trial.kind != "special" or trial.case is None or trial.case.special is None:
        return None
    if failure.subject.run(trial).right:
        return None  # it is not the value that makes it wrong
    special = trial.case.special
    where = f"with {special} in input {trial.case.where[0]}"
    if np.isfinite(special):
        results = failure.run.results
        return ("overflows", where) if any(~np.isfinite(r).all() for r in results) else None
    if np.isinf(special):
        large = dataclasses.replace(trial.case, special=math.copysign(1e3, special))
        run = failure.subject.run(trial_of_case(failure.subject.operation, large, True, "special"))
        if not run.right and any(~np.isfinite(r).all() for r in run.results):
            return "overflows", f"with {large.special:g} in input {trial.case.where[0]}"
    return "nan-lost", where


def _layout(failure: Failure) -> Found:
    """Wrong only where inputs have strides."""
    if failure.trial.kind != "layouts":
        return None
    layouts = " and ".join(failure.trial.case.layouts) if failure.trial.case else ""
    return ("ignores-strides", f"with inputs {layouts}; the same values in C order were right")


def _option(failure: Failure) -> Found:
    case, trial, contract = failure.trial.case, failure.trial, failure.subject.operation.contract
    if case is None:
        return None
    if not case.variation:
        for name, change in contract.variations.items():
            other = change(trial.arguments)
            exact = contract.reference(*other.inputs, **other.options)
            if all(
                _near(failure, r, np.asarray(e), i)
                for i, (r, e) in enumerate(zip(failure.run.results, exact, strict=True))
            ):
                return ("other-form", f"it computes that of {name}")
        return None
    plain = trial_of_case(failure.subject.operation, dataclasses.replace(case, variation=None), True, "sizes")
    if failure.subject.run(plain).right:
        return ("option-ignored", f"it is wrong with {case.variation}")
    return None


FORMATS = {"bfloat16": 8, "float16": 11, "TF32": 11, "float32": 24}
"""Bits of the significand, the leading one too, of formats that numbers may have been put into."""


def _precision(failure: Failure) -> Found:
    """Are the errors those of fewer bits? Inputs of fewer bits give another exact result: is it that one?"""
    trial = failure.trial
    wrong = _wrong(failure)
    if not wrong or trial.kind == "special":
        return None
    worst = max(_off(wrong))
    if not np.isfinite(worst) or worst > 0.05 or max(_peaks(wrong)) > 0.1:
        return None
    told = f"the error is {worst:.1e} of the result, by root mean squares"
    u = unit_roundoff(trial.dtype)
    for name, bits in FORMATS.items():
        if 2.0**-bits > 4 * u:
            for how in ("rounded", "cut off"):
                if _is_that_of(failure, bits, how):
                    return "lower-precision", told, f"it is the result for inputs {how} to {name}, of {bits} bits"
    share = min(np.count_nonzero(mask) / mask.size for _, mask, _, _ in wrong)
    many = failure.subject.operation.name in LINEAR or all(mask.size > 16 for _, mask, _, _ in wrong)
    if many and share > 0.4 and worst > 8 * u and _scales(failure):
        nearest = min(FORMATS, key=lambda name: abs(math.log2(worst) + FORMATS[name]))
        return "lower-precision", told, f"as of {nearest}, of {FORMATS[nearest]} bits"
    return ("rounding", told) if worst < 1e-3 else None


def _peaks(wrong: Sequence[Wrong]) -> list[float]:
    """The largest error of each result, as a share of its size."""
    return [
        float(np.max(np.abs(np.asarray(result, exact.dtype) - exact), initial=0.0)) / (_rms(exact) or 1.0)
        for _, _, result, exact in wrong
    ]


def _rms(x: np.ndarray[Any, Any]) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64))))) if x.size else 0.0


def _is_that_of(failure: Failure, bits: int, how: str) -> bool:
    """Whether the result is far nearer to that of inputs of so many bits than to the exact one."""
    trial, contract = failure.trial, failure.subject.operation.contract
    leaves = [_shortened(x, bits, how) for x in _leaves(trial.arguments.inputs)]
    with np.errstate(all="ignore"):
        other = contract.reference(*_with_leaves(trial.arguments.inputs, leaves), **trial.arguments.options)
    for number, _, result, exact in _wrong(failure):
        left = _rms(np.asarray(result, exact.dtype) - np.asarray(other[number], exact.dtype))
        if not left < 0.1 * _rms(np.asarray(result, exact.dtype) - exact):
            return False
    return True


def _shortened(x: np.ndarray[Any, Any], bits: int, how: str) -> np.ndarray[Any, Any]:
    """x with significands of so many bits, and the exponents that it has."""
    if x.dtype not in FLOATS:
        return x
    with np.errstate(all="ignore"):
        significand, exponent = np.frexp(x)
        whole = significand * 2.0**bits
        short = (np.rint if how == "rounded" else np.trunc)(whole) / 2.0**bits
        return np.asarray(np.ldexp(short, exponent), x.dtype)


LINEAR = ("dot", "sum", "add", "matmul", "linear")


def _scales(failure: Failure) -> bool:
    """Whether the error grows with the inputs, as that of rounding does, and what was added does not. By a factor that
    half precision has room for."""
    subject, trial = failure.subject, failure.trial
    if subject.operation.name not in LINEAR:
        return True
    rate = [
        _rms(result - np.asarray(exact, np.float64)) / (_rms(exact) or 1.0) for _, _, result, exact in _wrong(failure)
    ]
    larger = [(x * 8).astype(x.dtype) for x in _leaves(trial.arguments.inputs)]
    arguments = Arguments(_with_leaves(trial.arguments.inputs, larger), trial.arguments.options)
    run = subject.run(trial_of(subject.operation, arguments, trial.workload, trial.dtype))
    if run.right:
        return False
    return max(_off(_wrong(dataclasses.replace(failure, run=run)))) > 0.2 * max(rate)


def _off(wrong: Sequence[Wrong]) -> list[float]:
    """How far results are off, as a share of their size, by root mean squares."""
    return [_rms(np.asarray(result, exact.dtype) - exact) / (_rms(exact) or 1.0) for _, _, result, exact in wrong]


def _left_out(failure: Failure) -> Found:
    """A row, a column, or what is beyond the last full tile."""
    masks = [mask for _, mask, r, _ in _wrong(failure) if r.ndim == 2]
    if not masks:
        mask = next((mask for _, mask, r, _ in _wrong(failure) if r.ndim == 1), None)
        if mask is not None and mask.size > 1 and mask[-1] and not mask[: len(mask) // 2].any():
            return ("ragged-edges", f"the last {np.count_nonzero(mask)} elements are wrong")
        return None
    mask = masks[0]
    m, n = mask.shape
    if m > 1 and mask[-1].any() and not mask[:-1].any():
        return _confirmed_edge(failure, "last-row", 0)
    if n > 1 and mask[:, -1].any() and not mask[:, :-1].any():
        return _confirmed_edge(failure, "last-column", 1)
    rows, columns = np.flatnonzero(mask.all(axis=1)), np.flatnonzero(mask.all(axis=0))
    edge_rows = len(rows) and rows[0] > 0 and list(rows) == list(range(rows[0], m))
    edge_columns = len(columns) and columns[0] > 0 and list(columns) == list(range(columns[0], n))
    inner = mask[: rows[0] if edge_rows else m, : columns[0] if edge_columns else n]
    if (edge_rows or edge_columns) and not inner.any():
        edges = (("rows", edge_rows, rows), ("columns", edge_columns, columns))
        told = " and ".join(f"{what} from {where[0]} on" for what, edge, where in edges if edge)
        return ("ragged-edges", f"{told} are wrong, of {m} x {n}")
    return None


def _confirmed_edge(failure: Failure, name: str, axis: int) -> Found:
    """Only the last row or column at other sizes too? Else it is what is beyond the last full tile."""
    subject = failure.subject
    case = failure.trial.case
    if case is None:
        return (name,)
    axes = [a for a, _ in case.sizes]
    other = Case(subject.operation, case.dtype, tuple((a, 12) for a in axes))
    run = subject.run(trial_of_case(subject.operation, other, True, "sizes"))
    mask = next((wrong_places(r, e, b) for r, e, b in zip(run.results, run.trial.exact, run.trial.bound, strict=False)
                 if r.ndim == 2), None)  # fmt: skip
    if mask is None or not mask.any():
        return ("ragged-edges", f"wrong in the last {'row' if axis == 0 else 'column'}, for some sizes")
    edge = mask[-1] if axis == 0 else mask[:, -1]
    inner = mask[:-1] if axis == 0 else mask[:, :-1]
    return (name,) if edge.any() and not inner.any() else ("ragged-edges", "wrong beyond the last full tile")


def _which_result(failure: Failure) -> Found:
    """One of several results is wrong."""
    operation = failure.subject.operation
    if len(failure.run.results) < 2:
        return None
    wrong = [i for i, _, _, _ in _wrong(failure)]
    if len(wrong) == len(failure.run.results):
        return None
    names = [p.name for i in wrong for p in plan(operation).parameters if p.role == "result" and p.number == i]
    if not names or failure.run.unwritten == sum(r.size for r in failure.run.results):
        return None
    return ("sum-left-out", f"wrong: {', '.join(names)}")


def _algebra(failure: Failure) -> Found:
    """Transposed, scaled, a term too few, a bias left out: each is computed, and compared with what came."""
    wrong = _wrong(failure)
    if len(wrong) != 1:
        return None
    number, _, result, exact = wrong[0]
    if failure.subject.operation.name in ("matmul", "linear"):
        found = _of_product(failure, result)
        if found:
            return found
    if result.ndim == 2 and result.shape[0] == result.shape[1] and _near(failure, result, exact.T, number):
        return ("transposed",)
    if result.ndim == 2 and result.size > 1 and _near(failure, result, exact.T.reshape(exact.shape), number):
        return ("transposed", "its elements lie as those of the transposed result")
    finite = np.isfinite(exact) & np.isfinite(result) & (np.abs(exact) > 1e-3)
    if np.count_nonzero(finite) > 3:
        ratios = np.asarray(result, np.float64)[finite] / np.asarray(exact, np.float64)[finite]
        factor = float(np.median(ratios))
        if factor and abs(factor - 1) > 1e-4 and np.max(np.abs(ratios / factor - 1)) < 1e-3:
            return ("scaled", f"by {factor:.6g}")
    return _scaled_scalar(failure, number)


def _scaled_scalar(failure: Failure, number: int) -> Found:
    """A result of a few elements: is it off by the same factor for other values too?"""
    ratios: list[float] = []
    for _ in range(4):
        run = failure.subject.run(failure.subject.with_fresh_values(failure.trial))
        if run.right or not run.results or run.results[number].size > 3:
            return None
        with np.errstate(all="ignore"):
            ratios += (
                np.asarray(run.results[number], np.float64) / np.asarray(run.trial.exact[number], np.float64)
            ).flat
    factor = float(np.median(ratios))
    if not np.isfinite(factor) or not factor or abs(factor - 1) < 0.01:
        return None
    if np.max(np.abs(np.array(ratios) / factor - 1)) < 1e-3:
        sizes = [f", which is {axis}" for axis, n in failure.trial.workload.shape.items() if abs(n / factor - 1) < 1e-3]
        return "scaled", f"by {factor:.6g}{sizes[0] if sizes else ''}"
    return None


def _of_product(failure: Failure, result: np.ndarray[Any, Any]) -> Found:
    views = failure.trial.views
    a, b = (np.asarray(x, np.float64) for x in views[:2])
    bias = np.asarray(views[2], np.float64) if len(views) > 2 else 0.0
    m, k = a.shape
    n = b.shape[1]
    if np.ndim(bias) and _near(failure, result, a @ b):
        return ("bias-left-out",)
    if k > 1:
        if _near(failure, result, a[:, :-1] @ b[:-1] + bias):
            return ("off-by-one", "the last term of each sum is missing")
        if _near(failure, result, a[:, 1:] @ b[1:] + bias):
            return ("off-by-one", "the first term of each sum is missing")
    transposed_b = b.reshape(n, k).T if b.size else b
    transposed_a = a.reshape(k, m).T if a.size else a
    for left, right, told in (
        (a, transposed_b, "b is taken for its transpose"),
        (transposed_a, b, "a is taken for its transpose"),
        (transposed_a, transposed_b, "both are taken for their transposes"),
    ):
        if _near(failure, result, left @ right + bias):
            return ("transposed", told)
    product = (a @ b + bias).T.reshape(m, n)
    if _near(failure, result, product):
        return ("transposed", "its elements lie as those of the transposed result")
    return None


def _right_for(failure: Failure, shape: dict[str, int]) -> bool:
    """Whether a call of this shape is right."""
    subject = failure.subject
    case = Case(subject.operation, failure.trial.dtype, tuple(shape.items()))
    return subject.run(trial_of_case(subject.operation, case, True, "sizes")).right


def _some_shapes_only(failure: Failure) -> Found:
    """Right for the benchmarks' shapes and no others, or for small ones only."""
    operation = failure.subject.operation
    if failure.trial.kind not in ("sizes", "large", "again"):
        return None
    axes = list(operation.contract.workloads[0].shape)
    benchmarks = [dict(w.shape) for w in operation.contract.workloads if max(w.shape.values()) <= 128][:3]
    others = [dict(zip(axes, itertools.cycle(sizes), strict=False)) for sizes in ((19, 17, 22), (33, 31, 35))]
    if not any(_right_for(failure, shape) for shape in others):
        if benchmarks and all(_right_for(failure, shape) for shape in benchmarks):
            return "benchmarked-shapes-only", "right for workloads, wrong for every other size that was tried"
        return None
    small = all(_right_for(failure, shape) for shape in (*others, *(dict.fromkeys(axes, n) for n in (50, 63))))
    if small and not any(_right_for(failure, dict.fromkeys(axes, n)) for n in (160, 193, 256)):
        return "small-shapes-only", "right for all sizes up to 63 that were tried, wrong for 160, 193 and 256"
    return None


def _multiples(failure: Failure) -> Found:
    """Right only where sizes are multiples of something."""
    axes = list(failure.subject.operation.contract.workloads[0].shape)
    if failure.trial.kind not in ("sizes", "large", "again"):
        return None
    multiples = [n for n in (2, 4, 8, 16, 32) if _right_for(failure, dict.fromkeys(axes, 3 * n))]
    if not multiples or multiples[-1] != 32:
        return None
    if not any(_right_for(failure, dict.fromkeys(axes, n)) for n in (9, 15, 17, 33)):
        return "multiples-only", f"right where sizes are multiples of {multiples[0]}, wrong for 9, 15, 17 and 33"
    return _left_out(failure) or ("ragged-edges", "wrong for some sizes that are no multiples of a power of two")


LOOKS: tuple[Callable[[Failure], Found], ...] = (
    _outside,
    _deferred,
    _patches,
    _special,
    _layout,
    _searches,
    _first_call,
    _reads_out,
    _own_memory,
    _stale,
    _unwritten,
    _history_dependent,
    _not_deterministic,
    _option,
    _some_shapes_only,
    _which_result,
    _simple,
    _algebra,
    _left_out,
    _precision,
    _multiples,
)


# --- crashes


def crash_named(subject: Subject, crash: Crash, text: str) -> NamedCrash:
    """What a fault at an address means: the arrays lie between pages that nobody may touch."""
    import signal

    line = crash.line
    if not line and subject.library and subject.base and crash.instruction:
        line = line_of(subject.library.file, crash.instruction - subject.base)
    where = f" at line {line} of {subject.file.name}" if line else ""
    phase = text.rpartition(": ")[0]
    details = (f"in the call {phase}",)
    number = signal.Signals(crash.signal)
    if number in (signal.SIGSEGV, signal.SIGBUS):
        found = _address(subject, crash)
        if found:
            trick, told = found
            outcome = "wrong" if trick == "changes-input" else "crashed"
            return NamedCrash(trick, f"it crashed{where}: {told}", outcome, details)
        return NamedCrash(
            None, f"it crashed{where} at the address {crash.address:#x}, which is none of its own", details=details
        )
    if number == signal.SIGFPE:
        return NamedCrash(None, f"it crashed{where}: an integer division by zero", details=details)
    if number == signal.SIGILL:
        return NamedCrash(None, f"it crashed{where}: an instruction that this processor does not have", details=details)
    printed = subject.session.output if subject.session else b""
    if number == signal.SIGABRT:
        if b"bad_alloc" in printed:
            return NamedCrash(
                None, "it took more memory than the limit allows (std::bad_alloc)", "out-of-memory", details
            )
        last = printed.decode("utf-8", "replace").strip().splitlines()[-1:] or ["abort()"]
        return NamedCrash(None, f"it ended itself: {last[0]}", details=details)
    return NamedCrash(None, f"it was ended by {number.name}", details=details)


def _address(subject: Subject, crash: Crash) -> tuple[str, str] | None:
    session, known = subject.session, plan(subject.operation)
    if crash.code == 128 and crash.address == 0:
        return (
            "assumes-alignment",
            "a load or store that needs an aligned address, or an address that cannot be: arrays are aligned to their "
            "elements, and to nothing more",
        )
    if session is not None:
        for i, (slot, offset, nbytes) in subject.last_places.items():
            start = session.addresses[slot]
            name, role = subject.name_of(i), known.parameters[i].role
            if start <= crash.address < start + session.slots[slot].size and role == "input":
                return "changes-input", f"it wrote to its input {name}, which is only to be read"
            if not start - GUARD <= crash.address < start + session.slots[slot].size + GUARD:
                continue
            writes = crash.write == 1 if crash.write >= 0 else role != "input"
            verb = "wrote to" if writes else "read from"
            past = crash.address - (start + offset + nbytes)
            before = start + offset - crash.address
            trick = "writes-outside" if writes else "reads-outside"
            if past >= 0:
                told = "the element after its last" if past < 4 else f"{past} bytes past its end"
                return trick, f"it {verb} {told}: the array {name} ({nbytes} bytes)"
            return trick, f"it {verb} {before} bytes before its start: the array {name}"
    if abs(crash.address - crash.stack) < 1 << 20 and crash.stack:
        return "endless-recursion", "the stack is full, as after an endless recursion"
    if 0 <= crash.address < 1 << 16:
        return "null-pointer", "it followed a null pointer"
    return None
