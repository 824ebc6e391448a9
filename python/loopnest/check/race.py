"""How fast is it? Rounds in which the kernel and the rungs that it lies between have a call each in turn.

Rungs run in a process of the same kind, under the same protocol: fresh values before every call, the process stopped
before and after it, the judge's clock, less the time for which other processes had the processor (`Reply.counted`).
Every timed result is checked: rearrange.py.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.rung import Implementation
from ..backends.threads import processors
from ..machine.card import card as machine_card
from ..machine.plausible import MeasuredNow, Work, limit_of, why_impossible
from ..machine.records import MachineCard
from ..operation import Operation, Workload
from ..output.text import duration
from ..process.host import Host
from ..process.session import EndedError, ProcessLimits, Reply
from ..timing.budget import by_work, fitting, work_of
from ..timing.interval import median_interval, ratio
from ..timing.turns import Reading, Turn, run_rounds
from ..verify.signature import PythonForm, plan
from .ends import explained_end
from .explain import refusal_of
from .kernel import Kernel, Observation
from .probes import fresh
from .rearrange import Arrangement, Problem, problem_of
from .records import Placing, Raced, Refusal

LONG = 25e-3
"""Seconds of a call at most in the largest workload, where there is time for it."""

CALLS = 40
"""Calls that a contender should have in the seconds that there are, about: with fewer, workloads are smaller."""

ILLEGIBLE = 3
"""Round trips that a call has to take, for its work's time to be read from it."""

LEGIBLE = 0.5e-3
"""Seconds that it has to take, too: what a call in Python costs besides its work is nothing of that."""

FAR = 30
"""The ratio of times from which on it needs no measuring who is faster."""

EVERYWHERE = 5
"""The result of one timed call in this number is looked at everywhere; which one, a draw decides."""

FEWEST_ROUNDS = 4

MOST_BYTES = 1 << 26
"""Bytes of the arrays of the largest workload; a quarter where there is little time."""


MEASURED_NOW = MeasuredNow(
    peak=lambda dtype, threads: max(MeasuredNow().peak(dtype, threads), threads * MeasuredNow().peak(dtype, 1))
)
"""Limits that are measured before a time is refused. Where other processes have the other cores, all threads together
reach less than they would alone, so that one thread's peak for each counts too."""


class NotRaced(Exception):
    """Why it was not timed."""


class Contender:
    """A kernel on a workload: new values before each call, its result checked after it."""

    def __init__(self, name: str, kernel: Kernel, problem: Problem) -> None:
        self.name, self.kernel, self.problem, self.replies = name, kernel, problem, list[Reply]()
        self.turn = Turn(name, sample=self._call, prepare=self._prepare, check=self._check)
        self._rng, self._drawn = fresh(), 0
        self._probe, self._arrangement = problem.probe, Arrangement()

    def best_of(self, calls: int) -> float:
        """The least seconds of some calls that are not kept."""
        return min(self.once() for _ in range(calls))

    def once(self) -> float:
        self._prepare()
        seconds = self._call(1).elapsed
        self._check()
        return seconds

    def _prepare(self) -> None:
        self._probe, self._arrangement = self.problem.rearranged(self._rng)

    def _call(self, calls: int) -> Reading:
        try:
            reply = self.kernel.call(self._probe, f"{self._probe} while it was timed")
        except EndedError as error:
            if self.kernel.language != "rung":
                raise
            raise NotRaced(f"the rung {self.name} failed: {error}") from None
        self.replies.append(reply)
        return Reading(reply.counted, reply.processor)

    def _check(self) -> None:
        """Raises Refusal where the submission's result is wrong, NotRaced where a rung's is."""
        reply, number = self.replies[-1], len(self.replies) - 1
        if number % EVERYWHERE == 0:
            self._drawn = number + int(self._rng.integers(EVERYWHERE))
        everywhere = self.kernel.language != "rung" and number == self._drawn
        if reply.problem is not None:
            self._refuse(Observation(self._probe, reply))
        elif everywhere or not self.problem.seems_right(self.kernel, self._arrangement, self._rng):
            seen = self.kernel.judged(self._arrangement.whole(self._probe), reply)
            if not seen.right:
                self._refuse(seen)

    def _refuse(self, seen: Observation) -> None:
        if self.kernel.language == "rung":
            why = seen.problems[0] if seen.problems else (seen.reply.problem or {}).get("text", "")
            raise NotRaced(f"the rung {self.name} failed: {why}")
        raise refusal_of(self.kernel, seen)

    def raced(self, card: MachineCard) -> Raced:
        """The record of its kept calls."""
        probe, contract = self.problem.probe, self.kernel.operation.contract
        workload, dtype = probe.workload, probe.dtype
        replies = self.replies[-len(self.turn.readings) :]
        seconds, processor = tuple(r.counted for r in replies), tuple(r.processor for r in replies)
        busy = float(np.median(np.asarray(processor) / np.asarray(seconds)))
        flops, nbytes = contract.flops(**workload.shape), contract.traffic(dtype.itemsize, **workload.shape)
        limit = limit_of(card, flops, nbytes, str(dtype), busy)
        share = median_interval(seconds).over(limit.seconds)
        return Raced(
            self.name,
            workload.name,
            dict(workload.shape),
            seconds,
            tuple(r.seconds for r in replies),
            processor,
            limit.seconds,
            limit.by if limit.by == "flops" else limit.level,
            share if share.bounded else None,
        )


# --- the ladder


class Ladder:
    """The rungs of an operation, in a process of their own, which is kept for the next check."""

    def __init__(self, operation: Operation, threads: int) -> None:
        self.operation, self.threads = operation, threads
        self.host = Host(Path("the ladder"), ProcessLimits(call=60.0, memory=8 << 30), math.inf, threads)
        self._known: dict[tuple[str, str], dict[str, float]] = {}

    def kernel(self, rung: str) -> Kernel:
        """A rung, loaded."""
        request = {"kind": "rung", "name": self.operation.name, "file": "", "threads": self.threads}
        answer = self.host.load(rung, request)
        if "problem" in answer:
            raise NotRaced(f"{rung} cannot be loaded: {answer['problem']['text']}")
        form = PythonForm(True, plan(self.operation).parameters)
        return Kernel(self.operation, self.host.file, "rung", self.host, rung, form)

    def candidates(self, uses: Sequence[str], against: str | None) -> list[Implementation]:
        """The rungs that a kernel is placed between. They load quickly, or belong to libraries that it has loaded
        itself."""
        backends = ["python", "numpy", "cpp", *(name for name in ("numba", "torch") if name in uses)]
        quick = [k for k in self.operation.ladder() if k.backend in backends and not (k.study or k.slow_start)]
        wanted = [self.operation[against]] if against else []
        for k in wanted:
            if not k.available():
                raise NotRaced(f"{k.id} cannot run here: {k.why_unavailable()}")
        return list({k.id: k for k in (*quick, *wanted) if k.available()}.values())

    def estimates(
        self, rungs: Sequence[Implementation], workload: Workload, dtype: np.dtype[Any], own: float
    ) -> dict[str, float]:
        """Seconds of a call of each rung, about. Measured with a few calls; or predicted from a smaller workload, where
        that is far from the submission's `own` seconds."""
        contract, known = self.operation.contract, self._known.setdefault((workload.name, str(dtype)), {})
        smaller = [w for w in by_work(contract) if work_of(contract, w) < work_of(contract, workload)][:2]
        for k in rungs:
            if k.id in known:
                continue
            kernel = self.kernel(k.id)
            trip = min(self.host.live().round_trip() for _ in range(2))
            for w in smaller:
                best = Contender(k.id, kernel, problem_of(self.operation, w.name, dtype)).best_of(2)
                predicted = (best - trip) * work_of(contract, workload) / work_of(contract, w)
                if best > ILLEGIBLE * trip and not own / FAR < predicted < own * FAR:
                    known[k.id] = predicted
                    break
            else:
                known[k.id] = Contender(k.id, kernel, problem_of(self.operation, workload.name, dtype)).best_of(3)
        return {k.id: known[k.id] for k in rungs}


_ladders: dict[tuple[str, int, int], Ladder] = {}


def ladder_of(operation: Operation, threads: int) -> Ladder:
    """This process's ladder of the operation, for rungs with this number of threads."""
    return _ladders.setdefault((operation.name, threads, os.getpid()), Ladder(operation, threads))


# --- the race


def race(
    kernel: Kernel,
    ladder: Ladder,
    *,
    seconds: float = 4.0,
    against: str | None = None,
    workload: Workload | None = None,
    card: MachineCard | None = None,
) -> Placing:
    """Time a kernel next to the rungs that it lies between.

    against   the id of a further rung to compare it with
    workload  those that fit the time where it is None
    card      the machine's limits; the kept card, or a quick probe, where it is None

    Raises Refusal for what is wrong or impossible while it is timed, NotRaced where it cannot be timed.
    """
    operation, dtype, notes = kernel.operation, kernel.dtypes[0], list[str]()
    rival = operation[against].id if against else None
    card = card or machine_card(quick=True)
    if not card.measured:
        notes.append("the machine's limits are from a quick probe: `loopnest machine` measures them well")
    try:
        session = kernel.host.live()
        session.ask({"do": "time"})
        trip = float(np.median([session.round_trip() for _ in range(15)]))
        chosen = [workload] if workload else workloads_for(kernel, dtype, seconds, trip)
        races: list[Raced] = []
        for one in chosen:
            share = seconds / len(chosen)
            contenders, estimated = _contenders(kernel, ladder, one, dtype, share, rival)
            end = time.perf_counter() + 2 * share + 0.5
            run_rounds(
                [c.turn for c in contenders],
                seconds=share,
                least=FEWEST_ROUNDS,
                until=lambda rounds, end=end: rounds >= 2 and time.perf_counter() > end,  # type: ignore[misc]
            )
            races += [c.raced(card) for c in contenders]
            _refuse_impossible(kernel, races[-len(contenders)], dtype, card)
    except EndedError as error:
        raise explained_end(kernel, error) from None
    me, *rivals = contenders
    below, above, same = placed(me, rivals, estimated)
    compared = next((ratio(me.turn.samples, c.turn.samples) for c in rivals if c.name == rival), None)
    return Placing(
        str(dtype),
        ladder.threads,
        tuple(races),
        below,
        above,
        same,
        rival,
        compared if compared and compared.bounded else None,
        trip,
        notes=(*notes, *habits(races[-len(contenders)], ladder.threads)),
    )


def workloads_for(kernel: Kernel, dtype: np.dtype[Any], seconds: float, trip: float) -> list[Workload]:
    """The workloads to race on: the largest whose calls leave time for some dozens of them, and a smaller one."""
    longest, legible = min(LONG, seconds / CALLS), list[Workload]()

    def measure(workload: Workload) -> float | None:
        contender = Contender("it", kernel, problem_of(kernel.operation, workload.name, dtype))
        start, times = time.process_time(), [contender.once()]
        while len(times) < 2 or (len(times) < 6 and min(times) < longest):  # the first calls touch new memory
            times.append(contender.once())
        best, judging = min(times), (time.process_time() - start) / len(times)
        if best + judging > max(LONG, seconds / 10):
            return math.inf
        if best > ILLEGIBLE * trip:
            legible.append(workload)
        return best - trip if best > max(ILLEGIBLE * trip, LEGIBLE) else None

    most = MOST_BYTES if seconds >= 2 else MOST_BYTES // 4
    contract = kernel.operation.contract
    *_, largest = fitting(contract, longest, measure, itemsize=dtype.itemsize, most_bytes=most)
    smaller = [w for w in legible if w is not largest][-2:][:1] if seconds >= 2 else []
    return [*smaller, largest]


def _contenders(
    kernel: Kernel, ladder: Ladder, workload: Workload, dtype: np.dtype[Any], seconds: float, rival: str | None
) -> tuple[list[Contender], dict[str, float]]:
    """The kernel and its neighbours on the ladder, by estimate; and all estimates."""
    problem = problem_of(kernel.operation, workload.name, dtype)
    me = Contender("it", kernel, problem)
    own = me.best_of(3)
    known = ladder.estimates(ladder.candidates(kernel.uses, rival), workload, dtype, own)
    names = dict.fromkeys(filter(None, (*neighbours(own, known), rival)))
    affordable = [n for n in names if known[n] * 2 * FEWEST_ROUNDS <= max(seconds, 1.0)]
    rivals = [Contender(n, ladder.kernel(n), problem) for n in affordable]
    for contender in (me, *rivals):
        contender.once()
    return [me, *rivals], known


def placed(
    me: Contender, rivals: Sequence[Contender], estimated: dict[str, float]
) -> tuple[str | None, str | None, str | None]:
    """The rungs below and above the kernel, and one that is as fast."""
    own, known, same = float(np.median(me.turn.samples)), dict(estimated), None
    for rival in rivals:
        found = ratio(me.turn.samples, rival.turn.samples)
        known[rival.name] = own * found.estimate
        if found.holds(1) and abs(found.estimate - 1) < 0.05:
            same = rival.name
    known.pop(same or "", None)
    return *neighbours(own, known), same


def neighbours(own: float, known: Mapping[str, float]) -> tuple[str | None, str | None]:
    """The rungs that are next to this time: the slower one and the faster one, where there are such."""
    slower = min(((s, name) for name, s in known.items() if s >= own), default=(own, None))
    faster = max(((s, name) for name, s in known.items() if s < own), default=(own, None))
    return slower[1], faster[1]


def habits(own: Raced, threads: int) -> list[str]:
    """What its processor time says: that it waits, or keeps more processors busy than it was given."""
    busy = float(np.median(np.asarray(own.processor) / np.asarray(own.seconds)))
    if float(np.median(own.seconds)) < LEGIBLE:
        return []
    if busy < 0.5:
        return [f"it waits: its calls kept a processor busy for {busy:.0%} of their time"]
    many = f"{threads} thread{'s' if threads > 1 else ''}"
    return [f"it kept {busy:.1f} processors busy, and rungs had {many}: --threads"] if busy > threads + 0.3 else []


def _refuse_impossible(kernel: Kernel, own: Raced, dtype: np.dtype[Any], card: MachineCard) -> None:
    """Raises Refusal for a time that is below what the machine's limits allow with all of its processors."""
    contract = kernel.operation.contract
    flops, nbytes = contract.flops(**own.shape), contract.traffic(dtype.itemsize, **own.shape)
    work = Work(flops, nbytes, str(dtype), processors())
    reason = why_impossible(kernel.file.name, work, own.best, card, MEASURED_NOW)
    if reason:
        raise Refusal("impossible", reason, "impossible-time", f"on {own.workload}: {duration(own.best)}")
