"""Names what is wrong: by looks at a wrong result, and by further calls, each of which tells two explanations apart."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...numerics import unit_roundoff
from ..verify import POISON, Case, size_cases
from .build import line_of
from .faults import TRICKS, sentence
from .form import plan
from .runner import GUARD
from .session import Crash
from .subject import Run, Subject, Trial, trial_of_case

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
    history: Sequence[Trial] = ()

    @property
    def trial(self) -> Trial:
        return self.run.trial


def named(failure: Failure) -> Named:
    """The best name that there is for what is wrong."""
    for look in LOOKS:
        found = look(failure)
        if found:
            trick, *details = found
            return Named(trick, "cheats" if trick in TRICKS and trick in CHEATS else "wrong", tuple(details))
    return Named("wrong-values", "wrong")


def remembers(failure: Failure) -> Named | None:
    """The name, where what is wrong depends on the calls before."""
    found = _history_dependent(failure)
    if not found:
        return None
    trick, *details = found
    return Named(trick, "cheats" if trick in CHEATS else "wrong", tuple(details))


CHEATS = frozenset(
    ("cached-by-identity", "cached-by-pointer", "cached-by-shape", "cached-on-disk", "searches-memory", "lazy-result")
    + ("deferred-work", "skips-after-warm-up", "benchmarked-shapes-only")
)
"""Tricks whose outcome is "cheats"; the others are "wrong", since they may be honest mistakes."""

Found = Sequence[str] | None


def _wrong(failure: Failure) -> list[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
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
        return "deferred-work", f"{told}, after the call had returned"
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
    return _caches(failure, told) or ("not-deterministic", told)


def _by_count(failure: Failure, told: str) -> Found:
    """Right for some calls, then never again: count them."""
    subject = failure.subject
    for _ in range(400):
        run = subject.run(subject.with_fresh_values(failure.trial))
        if not run.right:
            again = [subject.run(subject.with_fresh_values(failure.trial)).right for _ in range(3)]
            if not any(again):
                return "skips-after-warm-up", told, "and wrong again after a number of calls, and from then on"
            return "skips-after-warm-up", told, "and wrong again now and then"
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


def _history(failure: Failure) -> Found:
    return _history_dependent(failure)


def _first_call(failure: Failure) -> Found:
    """Wrong at the first call in a process, right at the second."""
    subject = failure.subject
    subject.close()
    subject.start()
    first = subject.run(subject.with_fresh_values(failure.trial))
    second = subject.run(subject.with_fresh_values(failure.trial))
    third = subject.run(subject.with_fresh_values(failure.trial))
    if not first.right and second.right and third.right:
        return ("unsynchronised-first-call", "in a new process the first call is wrong, and the next ones are right")
    return None


def _searches(failure: Failure) -> Found:
    """It asked the garbage collector or the frames above it for objects that are not its own."""
    session = failure.subject.session
    if failure.subject.language != "python" or session is None or session.closed:
        return None
    session.ask({"do": "watch"})
    failure.subject.run(failure.subject.with_fresh_values(failure.trial))
    seen = session.ask({"do": "seen"})["events"]
    doors = [e for e in seen if e.startswith(("gc.get", "sys._current_frames", "ctypes.string_at"))]
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


def _bits(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x.view(np.dtype(x.dtype.str.replace("f", "u")))


def _special(failure: Failure) -> Found:
    """Wrong only where a NaN, an infinity or a large number comes in."""
    trial = failure.trial
    if trial.kind != "special" or trial.case is None or trial.case.special is None:
        return None
    special = trial.case.special
    where = f"with {special} in input {trial.case.where[0]}"
    if np.isfinite(special):
        results = failure.run.results
        if any(~np.isfinite(r).all() for r in results):
            return "overflows", where
        return None
    return "nan-lost", where


def _layout(failure: Failure) -> Found:
    """Wrong only where inputs have strides."""
    if failure.trial.kind != "layouts":
        return None
    layouts = " and ".join(failure.trial.case.layouts) if failure.trial.case else ""
    return ("ignores-strides", f"with inputs {layouts}; the same values in C order were right")


def _option(failure: Failure) -> Found:
    case = failure.trial.case
    if case is None or not case.variation:
        return None
    plain = trial_of_case(failure.subject.operation, dataclasses.replace(case, variation=None), True, "sizes")
    if failure.subject.run(plain).right:
        return ("option-ignored", f"it is wrong with {case.variation}")
    return None


def _precision(failure: Failure) -> Found:
    """Errors as large as those of fewer bits, all over the result."""
    wrong = _wrong(failure)
    if not wrong or failure.trial.kind == "special":
        return None
    errors = []
    for i, _, result, exact in wrong:
        size = _sizes(failure, i)
        with np.errstate(all="ignore"):
            relative = np.abs(np.asarray(result, exact.dtype) - exact) / np.where(size > 0, size, 1)
        if not np.isfinite(relative).all():
            return None
        errors.append(float(np.max(relative, initial=0.0)))
    worst = max(errors)
    u = unit_roundoff(failure.trial.dtype)
    if worst > 0.02 or worst < 4 * u:
        return ("rounding", f"relative errors up to {worst:.1e}") if worst < 0.02 else None
    formats = [("bfloat16", 2.0**-9), ("float16 or TF32", 2.0**-11), ("float32", 2.0**-24)]
    if failure.trial.dtype == np.float32:
        formats = formats[:2]
    for name, unit in formats:
        if unit / 8 <= worst <= unit * 6:
            return (
                "lower-precision",
                f"relative errors up to {worst:.1e}, as of {name}, whose unit roundoff is {unit:.1e}",
            )
    return "rounding", f"relative errors up to {worst:.1e}"


def _sizes(failure: Failure, number: int) -> np.ndarray[Any, Any]:
    """What errors are measured by: for sums of products the products' sizes, else the result's."""
    trial = failure.trial
    if failure.subject.operation.name in ("matmul", "linear"):
        a, b = (np.abs(x.astype(np.float64)) for x in trial.views[:2])
        total = a @ b
        return np.sqrt(a.shape[-1]) * total / max(1, a.shape[-1]) + total / max(1, a.shape[-1])
    return np.maximum(np.abs(np.asarray(trial.exact[number], np.float64)), 1e-3)


def _left_out(failure: Failure) -> Found:
    """A row, a column, or what is beyond the last full tile."""
    masks = [mask for _, mask, r, _ in _wrong(failure) if r.ndim == 2]
    if not masks:
        mask = next((mask for _, mask, r, _ in _wrong(failure) if r.ndim == 1), None)
        if mask is not None and mask[-1] and not mask[: len(mask) // 2].any():
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
        told = " and ".join(
            [f"rows from {rows[0]} on"] * bool(edge_rows) + [f"columns from {columns[0]} on"] * bool(edge_columns)
        )
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
    return ("sum-left-out", f"wrong: {', '.join(names)}") if names else None


def _algebra(failure: Failure) -> Found:
    """Transposed, scaled, a term too few, a bias left out: each is computed, and compared with what came."""
    trial = failure.trial
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
    del trial
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


def _by_size(failure: Failure) -> Found:
    """Which sizes are wrong? Only those that are no multiple of something, or all but those of the benchmarks."""
    subject, trial = failure.subject, failure.trial
    operation = subject.operation
    axes = list(operation.contract.workloads[0].shape)
    if trial.kind not in ("sizes", "large", "again"):
        return None

    def right(shape: dict[str, int]) -> bool:
        case = Case(operation, trial.dtype, tuple(shape.items()))
        return subject.run(trial_of_case(operation, case, True, "sizes")).right

    benchmarks = [dict(w.shape) for w in operation.contract.workloads if max(w.shape.values()) <= 128][:3]
    at_benchmarks = [right(shape) for shape in benchmarks]
    multiples = [n for n in (2, 4, 8, 16, 32) if right(dict.fromkeys(axes, 3 * n))]
    others = [n for n in (9, 15, 17, 33) if right(dict.fromkeys(axes, n))]
    if all(at_benchmarks) and benchmarks and not multiples and not others:
        return ("benchmarked-shapes-only", "right for workloads, wrong for every other size that was tried")
    if multiples and not others and multiples[-1] == 32:
        return ("multiples-only", f"right where sizes are multiples of {multiples[0]}, wrong for 9, 15, 17 and 33")
    if multiples and multiples[-1] == 32:
        return _left_out(failure) or ("ragged-edges", "wrong for some sizes that are no multiples of a power of two")
    return None


LOOKS: tuple[Callable[[Failure], Found], ...] = (
    _outside,
    _deferred,
    _special,
    _layout,
    _searches,
    _first_call,
    _reads_out,
    _unwritten,
    _history,
    _simple,
    _option,
    _which_result,
    _algebra,
    _precision,
    _left_out,
    _by_size,
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
        return NamedCrash(None, f"it crashed{where} at the address {crash.address:#x}, which is none of its own", details=details)
    if number == signal.SIGFPE:
        return NamedCrash(None, f"it crashed{where}: an integer division by zero", details=details)
    if number == signal.SIGILL:
        return NamedCrash(None, f"it crashed{where}: an instruction that this processor does not have", details=details)
    printed = subject.session.output if subject.session else b""
    if number == signal.SIGABRT:
        if b"bad_alloc" in printed:
            return NamedCrash(None, "it took more memory than the limit allows (std::bad_alloc)", "out-of-memory", details)
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


__all__ = ["Failure", "Named", "crash_named", "named", "size_cases"]
