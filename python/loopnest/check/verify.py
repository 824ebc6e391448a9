"""Is it right? A kernel is held to its operation's contract, by cases of many kinds, each with new values."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.compiler import BuildError
from ..backends.cuda_source import CudaSourceError
from ..process.session import EndedError
from ..verify import Case
from ..verify.racecheck import racecheck
from ..verify.signature import CForm
from .explain import explained_end, patches_of, refusal_of
from .kernel import Kernel, Observation
from .probes import LARGEST, cases, large_case, probe_of
from .records import SENTENCES, Checked, Refusal

OnEvent = Callable[[str, Any], None]

KINDS = {
    "sizes": "of sizes around lanes and tiles",
    "again": "with new values in the same arrays",
    "layouts": "with strides",
    "special": "with NaN, infinity and large numbers",
    "deterministic": "with the same inputs",
    "large": "of large arrays",
}
"""The kinds of calls, in order, and what they are called after their number."""

SLOW_CASE = 0.25  # Seconds of a call from which on a case that is not necessary is left out
LEGIBLE = 1e-3  # Seconds that a call counts at least, where the next one is predicted from it
NECESSARY = 40  # Lengths of axes up to which cases are judged, however slow the kernel is
BUSY = 6  # The factor by which a busy machine may stretch the judge's budget
LONG_CASE = 10e-3  # Seconds of a call after which no larger case is needed


def verify(kernel: Kernel, *, seconds: float, on_event: OnEvent) -> tuple[Checked, Refusal | None]:
    """Hold a kernel to its operation's contract, in each of its dtypes, up to the first wrong call.

    seconds  of the timing that follows: with more of it, more is looked at

    Returns what was looked at, and the refusal, or None where the kernel is right. Adds to the kernel's notes.
    """
    looked = _Verification(kernel, seconds, on_event)
    refusal = None
    try:
        for dtype in kernel.dtypes:
            looked.hold_all(dtype)
        looked.refuse_races()
        looked.refuse_patches()
    except Refusal as reason:
        refusal = reason
    except EndedError as error:
        refusal = explained_end(kernel, error)
    skipped, declined = (tuple(dict.fromkeys(lines)) for lines in (looked.skipped, kernel.declined))
    return Checked(kernel.calls, dict(looked.counts), skipped, declined), refusal


class _Verification:
    """What was looked at so far, and how fast the kernel is."""

    def __init__(self, kernel: Kernel, seconds: float, on_event: OnEvent) -> None:
        self.kernel, self.seconds, self.on_event = kernel, seconds, on_event
        self.counts: Counter[str] = Counter()
        self.skipped: list[str] = []
        self._rate = 0.0  # the highest work a second of a call so far
        self._kernel_seconds = 0.0

    def _begin(self, budget: float) -> None:
        """Start a budget of seconds. It counts the time that the judge and the kernel have a processor, so that a busy
        machine has the same verdict, up to BUSY times as much by the clock on the wall."""
        self._ends = self._worked() + budget, time.monotonic() + BUSY * budget

    def _worked(self) -> float:
        return time.process_time() + self._kernel_seconds

    def _late(self) -> float:
        """Seconds since the budget was spent; negative before."""
        return max(self._worked() - self._ends[0], time.monotonic() - self._ends[1])

    def hold_all(self, dtype: np.dtype[Any]) -> None:
        """All kinds of cases in one dtype. Raises Refusal where a call is wrong."""
        budget = max(0.7, self.seconds / 2)
        self._begin(budget * (3 if "numba" in self.kernel.uses else 1))
        for kind, words in KINDS.items():
            self.on_event("at", f"{dtype}: calls {words}")
            if kind == "layouts":
                self._hold_layouts(dtype)
            elif kind == "deterministic":
                self._hold_determinism(dtype)
            elif kind == "large":
                self._begin(budget)
                self._hold_large(dtype)
            else:
                for case, at_end in cases(kind, self.kernel.operation, dtype, variations=self.kernel.variations):
                    self._hold(case, kind, at_end)

    def _hold(self, case: Case, kind: str, at_end: bool = True, *, may_raise: bool = False) -> Observation | None:
        """Judge one case; None where it is left out."""
        operation, sizes = self.kernel.operation, dict(case.sizes).values()
        if 0 in sizes and (self.kernel.simulated is not None or operation.name.startswith("cross_entropy")):
            return None  # no GPU takes a launch without blocks; cross_entropy answers for an empty batch itself
        if not self._affordable(case):
            self.skipped.append(f"sizes above {NECESSARY}, in part: it is too slow for all of them in this time")
            return None
        seen = self.kernel.observe(probe_of(case, kind, at_end=at_end))
        self.counts[kind] += 1
        self._kernel_seconds += seen.reply.counted
        self._rate = max(self._rate, case.work() / max(seen.reply.counted, LEGIBLE))
        raised = seen.reply.problem is not None and not seen.reply.problem.get("returned")
        if not (may_raise and raised):
            self._refuse_if_wrong(seen)
        return seen

    def _refuse_if_wrong(self, seen: Observation) -> None:
        if seen.right:
            return
        if seen.reply.problem is None:
            self.on_event("at", "finding out what is wrong")
            self.refuse_races(f"{seen.probe}: {seen.problems[0]}")
        raise refusal_of(seen)

    def _affordable(self, case: Case) -> bool:
        """Whether a case is predicted to be short, or has to be judged anyhow."""
        if max(size for _, size in case.sizes) <= NECESSARY and self._late() <= 2:
            return True
        return not self._rate or (case.work() / self._rate <= SLOW_CASE and self._late() <= 0)

    def _hold_layouts(self, dtype: np.dtype[Any]) -> None:
        form, refused = self.kernel.form, dict[str, str]()
        if isinstance(form, CForm) and not form.strided:
            self.skipped.append("strides: its form takes contiguous arrays")
            return
        for case, _ in cases("layouts", self.kernel.operation, dtype, variations=self.kernel.variations):
            if any(layout in refused for layout in case.layouts):
                continue
            seen = self._hold(case, "layouts", may_raise=True)
            if seen is not None and seen.reply.problem is not None:
                layout = next(name for name in case.layouts if name != "in C order")
                refused[layout] = seen.reply.problem["text"].splitlines()[0][:100]
        if refused:
            self.kernel.declined += (f"arrays {', '.join(refused)}: {min(refused.values())}",)

    def _hold_determinism(self, dtype: np.dtype[Any]) -> None:
        case = Case.of(self.kernel.operation, dtype, (65,))
        if not self._affordable(case):
            return
        probe, results = probe_of(case, "deterministic"), set()
        for _ in range(3):
            self._refuse_if_wrong(self.kernel.observe(probe))
            results.add(b"".join(r.tobytes() for r in self.kernel.results()))
        self.counts["deterministic"] += 3
        if len(results) > 1:
            self.kernel.notes += ("two calls with the same inputs differ, within the error bound",)

    def _hold_large(self, dtype: np.dtype[Any]) -> None:
        """Larger and larger, until a call takes far longer than the judge needs to see what is left of it."""
        largest = LARGEST[dtype.itemsize] * (5 if self.seconds >= 2 else 1)
        for work in (largest >> 9, largest >> 6, largest >> 3, largest):
            case = large_case(work, self.kernel.operation, dtype)
            seen = self._hold(case, "large")
            if seen is None or self._late() > 0:
                return
            if seen.reply.counted > LONG_CASE:
                break
        self._hold(case, "large", at_end=False)

    def refuse_patches(self) -> None:
        """Refuse a kernel that replaced functions of Python."""
        found = patches_of(self.kernel)
        if found:
            raise Refusal("cheats", f"{SENTENCES[found[0]]}: {found[1]}", found[0])
        if self.kernel.seen()["loopnest"]:
            self.kernel.notes += ("it imports loopnest, and may be calling one of its rungs",)

    def refuse_races(self, *details: str) -> None:
        """Refuse a CUDA kernel whose threads touch the same memory with nothing between them, whether or not that
        changed a result here."""
        if self.kernel.simulated is None:
            return
        self.on_event("at", "looking for races")
        try:
            limit = self.kernel.host.call_limit
            checked = racecheck(self.kernel.file, kernel=self.kernel.symbol, time_limit=limit)
        except (BuildError, CudaSourceError) as error:
            self.skipped.append(f"races: {str(error).splitlines()[0]}")
            return
        races = [f.sentence for f in checked.findings if f.kind in ("race", "blocks", "divergent", "unreached")]
        if races:
            name = self.kernel.operation.name
            raise Refusal("wrong", f"{name} is wrong: {races[0]}", "race", *details, *races[1:])
