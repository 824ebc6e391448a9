"""Names what is wrong with a call: by a table of explanations, each a small function, the first that fits is taken.

Some are read from the wrong values (patterns.py). The others make further calls, which rule explanations out: in a new
process, at other addresses, with new array objects, with zeros in `out`, at other sizes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..process.session import EndedError
from ..verify import Case, wrong_elements
from . import patterns
from .faults import sentence
from .kernel import Kernel, Observation
from .patterns import Evidence, Explanation
from .probes import probe_of_case
from .records import Refusal

LATER = 0.15
"""Seconds after which results are looked at again, for work that was deferred."""

CHEATS = frozenset(
    (
        *("cached-by-identity", "cached-by-pointer", "cached-by-shape", "cached-on-disk", "searches-memory"),
        *("lazy-result", "deferred-work", "skips-after-warm-up", "benchmarked-shapes-only", "small-shapes-only"),
        *("patches-clock", "patches-numpy", "patches-statistics"),
    )
)
"""Tricks whose outcome is "cheats"; the others are "wrong", since they may be honest mistakes."""


def refusal_of(kernel: Kernel, seen: Observation, *details: str) -> Refusal:
    """The refusal of a kernel that was observed to be wrong, with the best name that there is for what is wrong."""
    if seen.reply.problem is not None:
        return _refusal_of_problem(kernel, seen, seen.reply.problem)
    first = f"{seen.probe}: {seen.problems[0]}"
    evidence = Evidence(kernel, seen)
    try:
        trick, *found = next(filter(None, (explain(evidence) for explain in EXPLANATIONS)), ("wrong-values",))
    except EndedError as error:
        trick, found = "wrong-values", [f"then {error}"]
    return _wrong(kernel, trick, first, *details, *(line for line in found if line not in first))


def _wrong(kernel: Kernel, trick: str, *details: str) -> Refusal:
    outcome = "cheats" if trick in CHEATS else "wrong"
    return Refusal(outcome, f"{kernel.operation.name} is wrong: {sentence(trick)}", trick, *details)


PROBLEMS: dict[str, tuple[str, str | None, str]] = {
    **dict.fromkeys(("type", "nothing", "results"), ("wrong", "wrong-type", "{text}")),
    "lazy": ("cheats", "lazy-result", "{text}"),
    "dtype": ("wrong", "wrong-dtype", "{text}"),
    "shape": ("wrong", "wrong-shape", "{text}"),
    "LaunchError": ("wrong", None, "the kernel cannot end its launch: {text}"),
    "RecursionError": ("raised", "endless-recursion", "{where}an endless recursion: {text}"),
    "MemoryError": ("out-of-memory", None, "{where}it took more memory than the limit allows"),
    **dict.fromkeys(
        ("SystemExit", "KeyboardInterrupt"), ("crashed", "leaves-the-process", "{where}it ended its process (sys.exit)")
    ),
}
"""The outcome, the trick or fault, and the sentence: for what was returned and can be no result, and for exceptions."""


def _refusal_of_problem(kernel: Kernel, seen: Observation, problem: Mapping[str, Any]) -> Refusal:
    kind, text, line = problem["kind"], problem["text"], problem.get("line")
    where = f"{kernel.file.name}:{line}: " if line else ""
    code = [f"  {problem['code']}"] if problem.get("code") else []
    details = [*code, f"in the call {seen.probe}"]
    remembered = depends_on_history(Evidence(kernel, seen)) if kind in ("shape", "dtype") else None
    if remembered:
        return _wrong(kernel, remembered[0], *details, *remembered[1:])
    if problem.get("returned"):
        kind = kind if kind in PROBLEMS else "type"
        text = f"{kernel.operation.name} {text}: {sentence(PROBLEMS[kind][1] or 'wrong-type')}"
    elif "read-only" in text:
        return Refusal("wrong", f"{where}{kind}: {text}: {sentence('changes-input')}", "changes-input", *details)
    outcome, name, words = PROBLEMS.get(kind, ("raised", None, "{where}it raised {kind}: {text}"))
    return Refusal(outcome, words.format(where=where, kind=kind, text=text), name, *details)


# --- outside, and later


def outside(evidence: Evidence) -> Explanation:
    """It wrote where no result is; or an earlier call did, that had returned."""
    seen = evidence.seen
    if not seen.outside:
        return ("changes-input", seen.problems[0]) if "changed its input" in seen.problems[0] else None
    evidence.kernel.host.restart()
    again = evidence.kernel.observe(evidence.probe)
    if again.outside:
        return "writes-outside", seen.outside
    late = None if again.right else deferred(Evidence(evidence.kernel, again))
    return late or ("deferred-work", f"{seen.outside}, by an earlier call that had returned")


def deferred(evidence: Evidence) -> Explanation:
    """Let it go on for a while, and look whether the result changes after all."""
    kernel, probe, session = evidence.kernel, evidence.probe, evidence.kernel.host.session
    if session is None or session.closed or kernel.last_probe is not probe:
        return None
    before = now = [r.tobytes() for r in kernel.results(probe)]
    end = time.monotonic() + LATER
    session.go_on()
    while time.monotonic() < end and now == before:
        time.sleep(0.005)
        now = [r.tobytes() for r in kernel.results(probe)]
    if now != before:
        time.sleep(LATER)
    session.stop()
    if now == before:
        return None
    compared = zip(kernel.results(probe), probe.exact, kernel.bound(probe), strict=True)
    wrong = any(wrong_elements(r, e, b).any() for r, e, b in compared)
    text = "the result went on changing" if wrong else "the whole result was there a little later"
    return first_call(evidence) or ("deferred-work", f"{text}, after the call had returned")


def first_call(evidence: Evidence) -> Explanation:
    """Wrong at the first call in a process, right at all later ones, of a size that leaves work for later."""
    kernel, dtype = evidence.kernel, evidence.probe.dtype
    evidence.again()  # may be the first call of a process
    if not evidence.again().right:
        return None

    def run(size: int) -> Observation:
        return kernel.observe(probe_of_case(Case.of(kernel.operation, dtype, (size,))))

    axes = len(kernel.operation.contract.workloads[0].shape)
    most = 384 if dtype.itemsize == 4 else 160  # of doubles, the exact result takes long doubles
    size = max(128, min(most, int(64 * (0.05 / max(run(64).reply.processor, 1e-6)) ** (1 / axes))))
    for _ in range(3):  # three times, since a race of threads may look so once or twice
        kernel.host.restart()
        first, *later = [run(size) for _ in range(6)]
        if first.right or not all(seen.right for seen in later):
            return None
    least = min(seen.reply.processor for seen in later)  # on a busy machine all calls take long
    if least < 2 * min(run(size // 4).reply.processor for _ in range(5)):
        return None  # the later calls do no work either, and were lucky
    return "unsynchronised-first-call", "in a new process the first call is wrong, and the next ones are right"


# --- what it did to Python


def patches(evidence: Evidence) -> Explanation:
    """Functions of others that it has replaced."""
    patched = evidence.kernel.seen()["patched"]
    return (patch_trick(patched), ", ".join(patched[:5])) if patched else None


def patch_trick(patched: Sequence[str]) -> str:
    """The name for having replaced these functions."""
    modules = {name.rpartition(".")[0] for name in patched}
    if "time" in modules:
        return "patches-clock"
    return "patches-numpy" if modules & {"numpy", "numpy.linalg", "numpy.testing"} else "patches-statistics"


def searches(evidence: Evidence) -> Explanation:
    """It asked the garbage collector or the frames above it for objects that are not its own."""
    session = evidence.kernel.host.session
    if evidence.kernel.language != "python" or session is None or session.closed:
        return None
    session.ask({"do": "watch"})
    evidence.again()
    events = evidence.kernel.seen()["events"]
    doors = [e for e in events if e.startswith(("gc.get", "sys._", "ctypes.string_at"))]
    return ("searches-memory", f"in the call it used {', '.join(doors)}") if doors else None


# --- what it remembers


def reads_out(evidence: Evidence) -> Explanation:
    """Right when `out` is zero before the call."""
    if evidence.kernel.operation.contract.updates or not any(np.isnan(r).any() for r in evidence.seen.results):
        return None
    if evidence.kernel.observe(evidence.probe.renewed(), fill="zero").right and not evidence.again().right:
        return "reads-out", "with zeros in `out` before the call the result is right, with NaN in it, it is not"
    return None


def unwritten(evidence: Evidence) -> Explanation:
    """Elements that hold the judge's NaN."""
    seen = evidence.seen
    total = sum(r.size for r in seen.results)
    if not seen.unwritten:
        return None
    if seen.reply.returned and seen.unwritten == total:
        return "ignores-out", "what it returned is another array than the `out` that it was given"
    found = depends_on_history(evidence) or (patterns.edges(evidence) if seen.unwritten < total else None)
    return found or ("unwritten", f"{seen.unwritten} of {total} elements were never written")


def depends_on_history(evidence: Evidence) -> Explanation:
    """Whether a new process gives the right result for the very call that was wrong, or for its first call."""
    calls = evidence.kernel.calls
    evidence.kernel.host.restart()
    if not evidence.kernel.observe(evidence.probe).right:
        return None
    text = f"in a new process the same call is right; it was wrong as call {calls}"
    seen = [evidence.again() for _ in range(6)]
    wrong = [i for i, one in enumerate(seen) if not one.right]
    if not wrong:  # right for some calls, then wrong: how long?
        late = next((one for one in (evidence.again() for _ in range(400)) if not one.right), None)
        if late and not any(evidence.again().right for _ in range(3)):
            return "skips-after-warm-up", text, "and wrong again after a number of calls, and from then on"
        if late and late.unwritten:
            return "skips-after-warm-up", text, "and now and then a call does nothing"
        return "not-deterministic", text
    cached = _cached(evidence, text)
    if cached:
        return cached
    if len(wrong) == len(seen) - wrong[0] and seen[-1].unwritten:
        return "skips-after-warm-up", text, f"and wrong again from call {wrong[0] + 2} on"
    return "not-deterministic", text


def _cached(evidence: Evidence, text: str) -> Explanation:
    """Right at its first call in a process, wrong when the values are others: what does it remember by?"""
    kernel, previous = evidence.kernel, evidence.probe.renewed()
    kernel.host.restart()
    kernel.observe(previous)
    seen = evidence.again()
    if seen.right:
        return None
    if not evidence.all_near(seen.results, previous.exact):
        return ("skips-after-warm-up", text, "the second call left `out` as it was") if seen.unwritten else None
    session = kernel.host.live()
    wrote = [e for e in session.ask({"do": "seen"})["events"] if e.startswith("open w")]
    files = [p.name for p in session.folder.rglob("*") if p.is_file()]
    if files or (wrote and kernel.language == "python"):
        return "cached-on-disk", text, f"it wrote {(files or wrote)[0]}"
    if not evidence.again(at_end=not evidence.probe.at_end).right:
        return "cached-by-shape", text, "the earlier result came back for other arrays of the same shape"
    kernel.host.restart()
    evidence.again()
    kernel.generation += 1
    if not evidence.again().right:
        return "cached-by-pointer", text, "the earlier result came back for new array objects at the same addresses"
    return "cached-by-identity", text, "the earlier result came back for the same array objects with other values"


def stale(evidence: Evidence) -> Explanation:
    """The result of the call before, always."""
    seen = [evidence.again() for _ in range(4)]
    for before, now in itertools.pairwise(seen):
        if not now.results or not evidence.all_near(now.results, before.probe.exact):
            return None
    return "stale-result", "each call gave the result for the inputs of the call before it"


def not_deterministic(evidence: Evidence) -> Explanation:
    """The same values twice, and results that differ by more than their bounds allow."""
    kernel, probe = evidence.kernel, evidence.probe
    seen = [one for one in (kernel.observe(probe) for _ in range(6)) if one.reply.problem is None]
    wrong = [one for one in seen if not one.right]
    if len(wrong) < len(seen):
        return "not-deterministic", f"of {len(seen)} more calls with the same inputs, {len(wrong)} are wrong"
    for one in wrong[1:]:
        for a, b, bound in zip(wrong[0].results, one.results, kernel.bound(probe), strict=True):
            if wrong_elements(a, np.asarray(b, bound.dtype), 2 * bound).any():
                return "not-deterministic", "the same inputs gave two results, and both are wrong"
    return None


# --- which calls are wrong


def special(evidence: Evidence) -> Explanation:
    """Wrong only where a NaN, an infinity or a large number comes in."""
    kernel, probe = evidence.kernel, evidence.probe
    if probe.kind != "special" or probe.case is None or probe.case.special is None or kernel.observe(probe).right:
        return None  # it is not the value that makes it wrong

    def overflows(seen: Observation) -> bool:
        return not seen.right and any(~np.isfinite(r).all() for r in seen.results)

    value, where = probe.case.special, f"in input {probe.case.where[0]}"
    if np.isfinite(value):
        return ("overflows", f"with {value} {where}") if overflows(evidence.seen) else None
    if np.isinf(value):
        large = dataclasses.replace(probe.case, special=math.copysign(1e3, value))
        if overflows(kernel.observe(probe_of_case(large, "special"))):
            return "overflows", f"with {large.special:g} {where}"
    return "nan-lost", f"with {value} {where}"


def layouts(evidence: Evidence) -> Explanation:
    """Wrong only where inputs have strides."""
    if evidence.probe.kind != "layouts" or evidence.probe.case is None:
        return None
    names = " and ".join(evidence.probe.case.layouts)
    return "ignores-strides", f"with inputs {names}; the same values in C order were right"


def some_sizes_only(evidence: Evidence) -> Explanation:
    """Right for the benchmarks' shapes and no others, or for small ones only."""
    if evidence.probe.kind not in ("sizes", "large", "again", "timed"):
        return None

    def right_for(*lengths: int) -> bool:
        """Whether a call whose axes have these lengths in turn is right."""
        case = Case.of(evidence.kernel.operation, evidence.probe.dtype, lengths)
        return evidence.kernel.observe(probe_of_case(case)).right

    uneven = ((19, 17, 22), (33, 31, 35))
    if not any(right_for(*lengths) for lengths in uneven):
        workloads = evidence.kernel.operation.contract.workloads
        benchmarks = [tuple(w.shape.values()) for w in workloads if max(w.shape.values()) <= 128][:3]
        if benchmarks and all(right_for(*lengths) for lengths in benchmarks):
            return "benchmarked-shapes-only", "right for workloads, wrong for every other size that was tried"
        return None
    small = all(right_for(*lengths) for lengths in (*uneven, (50,), (63,)))
    if small and not any(right_for(n) for n in (160, 193, 256)):
        return "small-shapes-only", "right for all sizes up to 63 that were tried, wrong for 160, 193 and 256"
    return None


EXPLANATIONS: tuple[Callable[[Evidence], Explanation], ...] = (
    outside,
    deferred,
    patches,
    special,
    layouts,
    searches,
    first_call,
    reads_out,
    patterns.own_memory,
    stale,
    unwritten,
    depends_on_history,
    not_deterministic,
    patterns.option,
    some_sizes_only,
    patterns.one_of_several,
    patterns.constant,
    patterns.other_formula,
    patterns.edges,
    patterns.precision,
)
"""In the order in which they are tried."""
