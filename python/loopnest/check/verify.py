"""Is it right? A kernel is held to its operation's contract, by cases of many kinds, each with new values."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.compiler import BuildError
from ..backends.cuda_source import CudaSourceError
from ..operation import Workload
from ..process.session import BUSY, EndedError
from ..verify import Case
from ..verify.c_signature import CForm
from ..verify.racecheck import racecheck
from ..verify.signature import PythonForm
from .explain import explained_end, patches_of, refusal_of
from .kernel import Kernel, Observation
from .probes import LARGEST, Probe, cases, drawn_cases, large_case, probe_of
from .records import SENTENCES, Checked, Refusal
from .timed import judged_in_part, known, redrawn, timed_probe

OnEvent = Callable[[str, Any], None]

KINDS = {
    "sizes": "of sizes around lanes and tiles",
    "again": "with new values in the same arrays",
    "deterministic": "with the same inputs, or nearly the same",
    "magnitudes": "with numbers far below 1, or above",
    "threads": "from another thread",
    "layouts": "with strides",
    "special": "with NaN, infinity and large numbers",
    "large": "of large arrays",
    "timed": "of all these kinds at the shape that is timed",
}
"""The kinds of calls, in order, and what they are called after their number."""

SLOW_CASE = 0.25  # Seconds of a call from which on a case that is not necessary is left out
LEGIBLE = 1e-3  # Seconds that a call counts at least, where the next one is predicted from it
NECESSARY = 40  # Lengths of axes up to which cases are judged, however slow the kernel is
LONG_CASE = 10e-3  # Seconds of a call after which no larger case is needed
RESERVE = 2  # Seconds of the time limit that are kept for what follows


class Verification:
    """Holds a kernel to its operation's contract. Adds to the kernel's notes.

    seconds  of the timing: with more of it, more is looked at
    left     cases that were left out, since it was too slow for them in this time
    """

    def __init__(self, kernel: Kernel, seconds: float, on_event: OnEvent) -> None:
        self.kernel, self.seconds, self.on_event = kernel, seconds, on_event
        self.counts: Counter[str] = Counter()
        self.skipped: list[str] = []
        self.left: list[tuple[Case, str, bool]] = []
        self._cut_off = False
        self._rng = np.random.default_rng()
        self._rate = 0.0  # the highest work a second of a call so far
        self._kernel_seconds = 0.0

    def refusal(self, ask: Callable[[], None]) -> Refusal | None:
        """Ask, up to the first wrong call; the refusal, or None where all is right."""
        try:
            ask()
            self.refuse_patches()
        except Refusal as reason:
            return reason
        except EndedError as error:
            if not self._is_cut_off(error):
                return explained_end(self.kernel, error)
        return None

    def _is_cut_off(self, error: EndedError) -> bool:
        """Whether all of the time is over, and not that of a call: what was right until then stays right."""
        if error.why not in ("timed-out", "sleeps") or self.kernel.host.left() > 0 or len(self.counts) < 2:
            return False
        self._cut_off = True
        self.skipped.append(f"what follows: the time was over in {error.text.partition(': ')[0]}")
        return True

    def checked(self) -> Checked:
        """What was looked at."""
        skipped, left = dict.fromkeys(self.skipped), len(self.left)
        if self.left:
            skipped[f"{left} calls, such as {self.left[0][0]}: it is too slow for them in this time"] = None
        declined = tuple(dict.fromkeys(self.kernel.declined))
        return Checked(self.kernel.calls, dict(self.counts), tuple(skipped), declined, left + self._cut_off)

    def hold(self) -> None:
        """All kinds of cases in each of its dtypes. Raises Refusal where a call is wrong."""
        for dtype in self.kernel.dtypes:
            self.hold_all(dtype)
        self.refuse_races()

    def make_up(self) -> None:
        """The cases that were left out and that its calls are quick enough for by now."""
        left, self.left, self._rate = sorted(self.left, key=lambda entry: entry[0].work()), [], 0.0
        if left:
            self.on_event("at", "calls that were left out")
        self._begin(2 * self._budget())
        for case, kind, at_end in left:
            self._hold(case, kind, at_end, may_raise=kind == "layouts")

    def _budget(self) -> float:
        return max(1.5, self.seconds / 2)

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
        budget, variations = self._budget(), self.kernel.variations
        self._begin(budget * (3 if "numba" in self.kernel.uses else 1))
        for kind, words in KINDS.items():
            if kind == "timed":
                continue
            self.on_event("at", f"{dtype}: calls {words}")
            if kind == "layouts":
                self._hold_layouts(dtype)
            elif kind == "deterministic":
                self._hold_determinism(dtype)
            elif kind == "large":
                self._begin(budget)
                self._hold_large(dtype)
            else:
                for case, at_end in cases(kind, self.kernel.operation, dtype, self._rng, variations=variations):
                    self._hold(case, kind, at_end)

    def _hold(self, case: Case, kind: str, at_end: bool = True, *, may_raise: bool = False) -> Observation | None:
        """Judge one case; None where it is left out."""
        operation, sizes = self.kernel.operation, dict(case.sizes).values()
        if 0 in sizes and (self.kernel.simulated is not None or operation.name.startswith("cross_entropy")):
            return None  # no GPU takes a launch without blocks; cross_entropy answers for an empty batch itself
        if not self._affordable(case):
            self.left.append((case, kind, at_end))
            return None
        return self._look(self.kernel.observe(probe_of(case, kind, at_end=at_end)), kind, may_raise)

    def _look(self, seen: Observation, kind: str, may_raise: bool = False) -> Observation:
        """Count a call. Raises Refusal where it is wrong."""
        case = seen.probe.case
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
        left = self.kernel.host.left()
        if left > 0 and max(size for _, size in case.sizes) <= NECESSARY and self._late() <= 2:
            return True
        if left < RESERVE:
            return False
        return not self._rate or (case.work() / self._rate <= SLOW_CASE and self._late() <= 0)

    def _hold_layouts(self, dtype: np.dtype[Any]) -> None:
        form, refused = self.kernel.form, dict[str, str]()
        if isinstance(form, CForm) and not form.strided:
            self.skipped.append("strides: its form takes contiguous arrays")
            return
        variations = self.kernel.variations
        for case, _ in cases("layouts", self.kernel.operation, dtype, self._rng, variations=variations):
            if any(layout in refused for layout in case.layouts):
                continue
            seen = self._hold(case, "layouts", may_raise=True)
            if seen is not None and seen.reply.problem is not None:
                layout = next(name for name in case.layouts if name != "in C order")
                refused[layout] = seen.reply.problem["text"].splitlines()[0][:100]
        if refused:
            self.kernel.declined += (f"arrays {', '.join(refused)}: {min(refused.values())}",)

    def _hold_determinism(self, dtype: np.dtype[Any]) -> None:
        for case, _ in cases("deterministic", self.kernel.operation, dtype, self._rng, variations=frozenset()):
            if self._affordable(case):
                self._hold_same(probe_of(case, "deterministic"), "deterministic")

    def _hold_same(self, probe: Probe, kind: str) -> None:
        """Three calls with the same inputs, and one with nearly the same."""
        results, probe = set(), known(probe)
        for _ in range(3):
            self._look(judged_in_part(self.kernel, probe, self.kernel.call(probe), self._rng), kind)
            results.add(b"".join(r.tobytes() for r in self.kernel.results()))
        nearly = probe.exchanged(self._rng)
        self._look(judged_in_part(self.kernel, nearly, self.kernel.call(nearly), self._rng), kind)
        if len(results) > 1:
            self.kernel.notes += ("two calls with the same inputs differ, within the error bound",)

    def hold_at(self, workload: Workload, dtype: np.dtype[Any], seconds: float) -> None:
        """Each kind of case at the shape that is timed, where a call takes this number of seconds. Raises Refusal where
        a call is wrong."""
        form, timed, asked = self.kernel.form, timed_probe(self.kernel.operation, workload.name, dtype), list[Case]()
        self.on_event("at", f"{dtype}: calls {KINDS['timed']}")
        strided = isinstance(form, PythonForm) or form.strided
        kinds = list[str]()
        for kind in ("layouts", "special", "magnitudes")[0 if strided else 1 :]:
            asked += drawn_cases(kind, timed.case, self._rng, variations=self.kernel.variations)
            kinds += [kind] * (len(asked) - len(kinds))
        try:
            self._hold_as_timed(timed, asked, kinds, seconds)
        except EndedError as error:
            if not self._is_cut_off(error):
                raise explained_end(self.kernel, error) from None

    def _hold_as_timed(self, timed: Probe, asked: list[Case], kinds: list[str], seconds: float) -> None:
        """The same inputs again, and then these cases. Those for which there is no time are left out."""
        for number in range(-1, len(asked)):
            if seconds * (len(asked) - number) > self.kernel.host.left() / 3:
                self.left += [(case, kind, True) for case, kind in zip(asked, kinds, strict=True)][max(0, number) :]
                return
            start = time.monotonic()
            if number < 0:
                self._hold_same(redrawn(timed, self._rng), "timed")
                continue
            probe = redrawn(timed, self._rng, asked[number], kinds[number])
            seen = judged_in_part(self.kernel, probe, self.kernel.call(probe), self._rng)
            self._look(seen, "timed", may_raise=kinds[number] == "layouts")
            seconds = max(seconds, time.monotonic() - start)  # with the judge's own

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
        """Refuse a kernel that replaced functions of Python, or changed the modes of floating-point numbers."""
        seen, found = self.kernel.seen(), patches_of(self.kernel)
        if seen["modes"]:
            name = "changes-modes"
            raise Refusal("wrong", f"{self.kernel.operation.name} is wrong: {SENTENCES[name]}", name)
        if found:
            raise Refusal("cheats", f"{SENTENCES[found[0]]}: {found[1]}", found[0])
        if seen["loopnest"]:
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
