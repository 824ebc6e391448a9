"""Names what is wrong with a call: by a table of explanations, each a small function, the first that fits is taken.

Some are read from the wrong values (patterns.py). The others make further calls, which rule explanations out: in a new
process, at other addresses, with new array objects, with zeros in `out`, at other sizes. If a call ended its process,
the signal and the address say what happened.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..backends.compiler import line_of
from ..process.child.system import GUARD
from ..process.session import Crash, EndedError
from . import patterns
from .kernel import Kernel, Observation
from .patterns import Explanation
from .probes import probe_of
from .records import ENDS, PROBLEMS, SENTENCES, SIGNALS, TRICKS, Refusal

LATER = 0.15  # Seconds after which results are looked at again, for work that was deferred
CHEATS = TRICKS.keys() - {"changes-input", "lower-precision", "unsynchronised-first-call"}
"""Tricks whose outcome is "cheats"; the others are "wrong", since they may be honest mistakes."""


def refusal_of(call: Observation) -> Refusal:
    """The refusal of a call that was observed to be wrong, with the best name that there is for what is wrong."""
    if call.reply.problem is not None:
        return _refusal_of_problem(call, call.reply.problem)
    first = f"{call.probe}: {call.problems[0]}"
    try:
        fault, *found = next(filter(None, (explain(call) for explain in EXPLANATIONS)), ("wrong-values",))
    except EndedError as error:
        if error.why == "awake":
            return explained_end(call.kernel, error)
        fault, found = "wrong-values", [f"then {error}"]
    return _wrong(call.kernel, fault, first, *(line for line in found if line not in first))


def _wrong(kernel: Kernel, fault: str, *details: str) -> Refusal:
    outcome = "cheats" if fault in CHEATS else "wrong"
    return Refusal(outcome, f"{kernel.operation.name} is wrong: {SENTENCES[fault]}", fault, *details)


def _refusal_of_problem(call: Observation, problem: Mapping[str, Any]) -> Refusal:
    kernel, kind, text, line = call.kernel, problem["kind"], problem["text"], problem.get("line")
    where = f"{kernel.file.name}:{line}: " if line else ""
    details = [*([f"  {problem['code']}"] if problem.get("code") else []), f"in the call {call.probe}"]
    if "torch" in kernel.uses and not kernel.tensors:
        details.append("arrays are NumPy's: torch.from_numpy(x) is a tensor on the same memory")
    remembered = depends_on_history(call) if kind in ("shape", "dtype") else None
    if remembered:
        return _wrong(kernel, remembered[0], *details, *remembered[1:])
    if problem.get("returned"):
        kind = kind if kind in PROBLEMS else "type"
        text = f"{kernel.operation.name} {text}: {SENTENCES[PROBLEMS[kind][1]]}"
    elif "read-only" in text:
        return Refusal("wrong", f"{where}{kind}: {text}: {SENTENCES['changes-input']}", "changes-input", *details)
    outcome, name, words = PROBLEMS.get(kind, ("raised", "", "{where}it raised {kind}: {text}"))
    return Refusal(outcome, words.format(where=where, kind=kind, text=text), name, *details)


# --- outside, and later


def outside(call: Observation) -> Explanation:
    """It wrote where no result is; or an earlier call did, that had returned."""
    if not call.outside:
        return None
    call.kernel.host.restart()
    again = call.kernel.observe(call.probe)
    if again.outside:
        return "writes-outside", call.outside
    late = None if again.right else deferred(again)
    return late or ("deferred-work", f"{call.outside}, by an earlier call that had returned")


def deferred(call: Observation) -> Explanation:
    """Let it go on for a while, and look whether the result changes after all."""
    kernel, probe, session = call.kernel, call.probe, call.kernel.host
    if session.closed or kernel.last_probe is None or kernel.last_probe.arguments is not probe.arguments:
        return None
    before = now = [r.tobytes() for r in kernel.results()]
    end = time.monotonic() + LATER
    session.go_on()
    while time.monotonic() < end and now == before:
        time.sleep(0.005)
        now = [r.tobytes() for r in kernel.results()]
    if now != before:
        time.sleep(LATER)
    session.stop()
    if now == before:
        return None
    right = kernel.judged(probe, call.reply).right
    text = "the whole result was there a little later" if right else "the result went on changing"
    return first_call(call) or ("deferred-work", f"{text}, after the call had returned")


def first_call(call: Observation) -> Explanation:
    """Wrong at the first call in a process, right at all later ones, of a size that leaves work for later."""
    kernel, dtype = call.kernel, call.probe.dtype
    call.again()  # may be the first call of a process
    if not call.again().right:
        return None

    axes = len(kernel.operation.contract.workloads[0].shape)
    most = 384 if dtype.itemsize == 4 else 160  # of doubles, the exact result takes long doubles
    seconds = max(kernel.try_sizes(dtype, (64,)).reply.processor, 1e-6)
    size = int(np.clip(64 * (0.05 / seconds) ** (1 / axes), 128, most))
    for _ in range(3):  # three times, since a race of threads may look so once or twice
        kernel.host.restart()
        first, *later = [kernel.try_sizes(dtype, (size,)) for _ in range(6)]
        if first.right or not all(seen.right for seen in later):
            return None
    least = min(seen.reply.processor for seen in later)  # on a busy machine all calls take long
    if least < 2 * min(kernel.try_sizes(dtype, (size // 4,)).reply.processor for _ in range(5)):
        return None  # the later calls do no work either, and were lucky
    return "unsynchronised-first-call", "in a new process the first call is wrong, and the next ones are right"


# --- what it did to Python


def patches(call: Observation) -> Explanation:
    """Functions of others that it has replaced."""
    return patches_of(call.kernel)


def patches_of(kernel: Kernel) -> Explanation:
    patched = kernel.seen()["patched"]
    modules = {name.rpartition(".")[0] for name in patched}
    numpy = modules & {"numpy", "numpy.linalg", "numpy.testing"}
    fault = "patches-clock" if "time" in modules else "patches-numpy" if numpy else "patches-statistics"
    return (fault, ", ".join(patched[:5])) if patched else None


def searches(call: Observation) -> Explanation:
    """It asked the garbage collector or the frames above it for objects that are not its own."""
    session = call.kernel.host
    if call.kernel.language != "python" or session.closed:
        return None
    session.ask({"do": "watch"})
    call.again()
    doors = call.kernel.seen()["events"]
    return ("searches-memory", f"in the call it used {', '.join(doors)}") if doors else None


# --- what it remembers


def reads_out(call: Observation) -> Explanation:
    """Right when `out` is zero before the call."""
    if call.kernel.operation.contract.updates or not any(np.isnan(r).any() for r in call.results):
        return None
    if call.kernel.observe(call.probe.renewed(), fill="zero").right and not call.again().right:
        return "reads-out", "with zeros in `out` before the call the result is right, with NaN in it, it is not"
    return None


def unwritten(call: Observation) -> Explanation:
    """Elements that hold the judge's NaN."""
    total = sum(r.size for r in call.results)
    if not call.unwritten:
        return None
    if call.reply.returned and call.unwritten == total:
        return "ignores-out", "what it returned is another array than the `out` that it was given"
    found = depends_on_history(call) or (patterns.edges(call) if call.unwritten < total else None)
    return found or ("unwritten", f"{call.unwritten} of {total} elements were never written")


def depends_on_history(call: Observation) -> Explanation:
    """Whether a new process gives the right result for the very call that was wrong, or for its first call."""
    calls = call.kernel.calls
    call.kernel.host.restart()
    if not call.kernel.observe(call.probe).right:
        return None
    text = f"in a new process the same call is right; it was wrong as call {calls}"
    seen = [call.again() for _ in range(6)]
    wrong = [i for i, one in enumerate(seen) if not one.right]
    if not wrong:  # right for some calls, then wrong: how long?
        late = next((one for one in (call.again() for _ in range(400)) if not one.right), None)
        if late and late.unwritten:
            return "skips-after-warm-up", text, "and later a call does nothing"
        return "not-deterministic", text
    cached = _cached(call, text)
    if cached:
        return cached
    if len(wrong) == len(seen) - wrong[0] and seen[-1].unwritten:
        return "skips-after-warm-up", text, f"and wrong again from call {wrong[0] + 2} on"
    return "not-deterministic", text


def _cached(call: Observation, text: str) -> Explanation:
    """Right at its first call in a process, wrong when the values are others: what does it remember by?"""
    kernel, previous = call.kernel, call.probe.renewed()
    kernel.host.restart()
    kernel.observe(previous)
    seen = call.again()
    if seen.right:
        return None
    if not call.all_near(seen.results, previous.exact):
        return ("skips-after-warm-up", text, "the second call left `out` as it was") if seen.unwritten else None
    files = [p.name for p in kernel.host.live().folder.rglob("*") if p.is_file()]
    if files:
        return "cached-on-disk", text, f"it wrote {files[0]}"
    if not call.again(at_end=not call.probe.at_end).right:
        return "cached-by-shape", text, "the earlier result came back for other arrays of the same shape"
    kernel.host.restart()
    call.again()
    kernel.generation += 1
    if not call.again().right:
        return "cached-by-pointer", text, "the earlier result came back for new array objects at the same addresses"
    return "cached-by-identity", text, "the earlier result came back for the same array objects with other values"


def by_sample(call: Observation) -> Explanation:
    """The result of the call before, whose inputs differ in a few elements."""
    before = call.probe.before
    if before is None or not call.results or not call.all_near(call.results, before.exact):
        return None
    return "cached-by-sample", "two elements of each input were exchanged, and the earlier result came back"


def stale(call: Observation) -> Explanation:
    """The result of the call before, always."""
    seen = [call.again() for _ in range(4)]
    for before, now in itertools.pairwise(seen):
        if not now.results or not call.all_near(now.results, before.probe.exact):
            return None
    return "stale-result", "each call gave the result for the inputs of the call before it"


def not_deterministic(call: Observation) -> Explanation:
    """The same values twice, and results that differ by more than their bounds allow."""
    kernel, probe = call.kernel, call.probe
    seen = [one for one in (kernel.observe(probe) for _ in range(6)) if one.reply.problem is None]
    wrong = [one for one in seen if not one.right]
    if len(wrong) < len(seen):
        return "not-deterministic", f"of {len(seen)} more calls with the same inputs, {len(wrong)} are wrong"
    if all(call.all_near(one.results, wrong[0].results) for one in wrong[1:]):
        return None
    return "not-deterministic", "the same inputs gave two results, and both are wrong"


# --- which calls are wrong


def special(call: Observation) -> Explanation:
    """Wrong only where a NaN, an infinity or a large number comes in."""
    kernel, probe = call.kernel, call.probe
    if probe.kind != "special" or probe.case.special is None or kernel.observe(probe).right:
        return None  # it is not the value that makes it wrong

    def overflows(seen: Observation) -> bool:
        return not seen.right and any(~np.isfinite(r).all() for r in seen.results)

    value, where = probe.case.special, f"in input {probe.case.where[0]}"
    if np.isfinite(value):
        return ("overflows", f"with {value} {where}") if overflows(call) else None
    if np.isinf(value):
        large = dataclasses.replace(probe.case, special=math.copysign(1e3, value))
        if overflows(kernel.observe(probe_of(large, "special"))):
            return "overflows", f"with {large.special:g} {where}"
    lost = any((np.isfinite(w.result) & ~np.isfinite(w.exact)).any() for w in call.wrong)
    return "nan-lost" if lost or not call.wrong else "nan-leaks", f"with {value} {where}"


def one_kind(call: Observation) -> Explanation:
    """Wrong only for other magnitudes, or in another thread."""
    name = {"magnitudes": "one-magnitude", "threads": "one-thread-only"}.get(call.probe.kind)
    if name is None or all(call.again().right for _ in range(6)):
        return None
    usual = [call.kernel.observe(probe_of(call.probe.case)) for _ in range(3)]
    return (name,) if all(seen.right for seen in usual) else None


def layouts(call: Observation) -> Explanation:
    """Wrong only where inputs have strides."""
    if call.probe.kind != "layouts":
        return None
    names = " and ".join(call.probe.case.layouts)
    return "ignores-strides", f"with inputs {names}; the same values in C order were right"


def some_sizes_only(call: Observation) -> Explanation:
    """Right for the benchmarks' shapes and no others, or for small ones only."""
    if call.probe.kind not in ("sizes", "large", "again", "timed"):
        return None

    def right_for(*lengths: int) -> bool:
        return call.kernel.try_sizes(call.probe.dtype, lengths).right

    uneven = ((19, 17, 22), (33, 31, 35))
    if not any(right_for(*lengths) for lengths in uneven):
        workloads = call.kernel.operation.contract.workloads
        benchmarks = [tuple(w.shape.values()) for w in workloads if max(w.shape.values()) <= 128][:3]
        if benchmarks and all(right_for(*lengths) for lengths in benchmarks):
            return "benchmarked-shapes-only", "right for workloads, wrong for every other size that was tried"
        return None
    small = all(right_for(*lengths) for lengths in (*uneven, (50,), (63,)))
    if small and not any(right_for(n) for n in (160, 193, 256)):
        return "small-shapes-only", "right for all sizes up to 63 that were tried, wrong for 160, 193 and 256"
    return None


def large_only(call: Observation) -> Explanation:
    """Right for small sizes, wrong for a large one."""
    if call.probe.kind not in ("large", "timed") or any(call.again().right for _ in range(3)):
        return None
    small = all(call.kernel.try_sizes(call.probe.dtype, lengths).right for lengths in ((19, 17, 22), (50,), (160,)))
    return ("small-shapes-only", f"right for small sizes, wrong for {call.probe}") if small else None


EXPLANATIONS: tuple[Callable[[Observation], Explanation], ...] = (
    outside,
    deferred,
    patches,
    special,
    layouts,
    one_kind,
    searches,
    first_call,
    reads_out,
    patterns.own_memory,
    by_sample,
    stale,
    unwritten,
    depends_on_history,
    not_deterministic,
    patterns.option,
    patterns.cancels,
    some_sizes_only,
    patterns.left_out_bias,
    patterns.one_of_several,
    patterns.constant,
    patterns.other_formula,
    patterns.edges,
    patterns.precision,  # late: an error of this size is more often an honest mistake
    large_only,
)
"""In the order in which they are tried."""


# --- how its process ended


def explained_end(kernel: Kernel, error: EndedError) -> Refusal:
    """The refusal of a kernel whose process ended, or had to be ended."""
    if error.crash is None:
        outcome, end = ENDS[error.why]
        return Refusal(outcome, error.text, end)
    crash, line, printed = error.crash, error.crash.line, kernel.host.output
    base = kernel.host.loaded.get(kernel.key, {}).get("base", 0)
    if not line and kernel.library and base and crash.instruction:
        line = line_of(kernel.library, crash.instruction - base)
    number, outcome, fault = signal.Signals(crash.signal), "crashed", None
    if number in (signal.SIGSEGV, signal.SIGBUS):
        fault, reason = _reason(kernel, crash)
        outcome = "wrong" if fault == "changes-input" else outcome
        if fault == "reads-outside" and kernel.last_probe and kernel.last_probe.kind == "layouts":
            fault = "ignores-strides"  # in C order it read no such place
    elif b"bad_alloc" in printed:
        outcome, reason = "out-of-memory", "it took more memory than the limit allows (std::bad_alloc)"
    else:
        last = printed.decode("utf-8", "replace").strip().splitlines()[-1:] or [number.name]
        reason = SIGNALS.get(number.name, f"it was ended by {number.name}: {last[0]}")
    where = f" at line {line} of {kernel.file.name}" if line else ""
    return Refusal(outcome, f"it crashed{where}: {reason}", fault, f"in the call {error.text.rpartition(': ')[0]}")


def _reason(kernel: Kernel, crash: Crash) -> tuple[str | None, str]:
    """What a fault at an address means: arrays lie between pages that nobody may touch."""
    if crash.code == 128 and crash.address == 0:
        return "assumes-alignment", "an address that is not aligned: arrays are aligned to their elements only"
    session = kernel.host
    for number, (parameter, slot, offset, nbytes, _) in (kernel.placed if session.slots else {}).items():
        start, size = session.addresses[slot], session.slots[slot].size
        name, is_input = kernel.name_of(number), parameter.role == "input"
        if is_input and start <= crash.address < start + size:
            return "changes-input", f"it wrote to its input {name}, which is only to be read"
        if not start - GUARD <= crash.address < start + size + GUARD:
            continue
        writes = crash.write == 1 if crash.write >= 0 else not is_input
        fault, verb = ("writes-outside", "wrote to") if writes else ("reads-outside", "read from")
        past, before = crash.address - (start + offset + nbytes), start + offset - crash.address
        if past < 0:
            place = f"{before} bytes before its start"
        else:
            place = "the element after its last" if past < 4 else f"{past} bytes past its end"
        return fault, f"it {verb} {place}: the array {name} ({nbytes} bytes)"
    if abs(crash.address - crash.stack) < 1 << 20 and crash.stack:
        return "endless-recursion", "the stack is full, as after an endless recursion"
    if 0 <= crash.address < 1 << 16:
        return "null-pointer", "it followed a null pointer"
    return None, f"the address {crash.address:#x} is none of its own"
