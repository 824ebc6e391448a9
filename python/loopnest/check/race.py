"""How fast is it? Rounds in which the kernel and the rungs that it lies between have a call each in turn.

Rungs run in a process of the same kind, under the same protocol: fresh values before every call, the process stopped
before and after it, the judge's clock, less the time for which other processes had the processor (`Reply.counted`).
Every timed result is checked: timed.py.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.threads import processors
from ..machine.card import card as machine_card
from ..machine.limits import Work, limit_of, why_impossible
from ..machine.records import MachineCard
from ..operation import Operation, Workload
from ..output.text import duration
from ..process.session import EndedError, Reply, Session
from ..timing.budget import by_work, fitting, work_of
from ..timing.interval import Interval, median_interval, ratio
from ..timing.turns import Reading, Turn, run_rounds
from ..verify.signature import PythonForm, plan
from .explain import explained_end, refusal_of
from .kernel import Kernel
from .records import Placing, Raced, Refusal
from .timed import may_be_looked_at_everywhere, redrawn, seems_right, timed_probe, whole

LONG = 25e-3  # Seconds of a call at most in the largest workload, where there is time for it
CALLS = 40  # This number of calls should fit the time, about; otherwise the workload is smaller
ILLEGIBLE = 3  # A call has to take this many round trips, for its work's time to be read from it
LEGIBLE = 0.5e-3  # And these seconds: the cost of a call in Python is far below
FAR = 30  # The ratio of times from which on no measuring is needed to say who is faster
EVERYWHERE = 5  # One timed call in this number, drawn by lot, is looked at everywhere where others are not
FEWEST_ROUNDS = 4
BEYOND = 1.1  # The share of the limit from which on an interval that reaches it is noise: limits have errors, too
MOST_BYTES = 1 << 26  # Bytes of the arrays of the largest workload; a quarter where there is little time


class NotRaced(Exception):
    """Why it was not timed."""


class Contender:
    """A kernel on a workload: new values before each call, its result checked after it."""

    def __init__(self, name: str, kernel: Kernel, workload: Workload, dtype: np.dtype[Any]) -> None:
        self.name, self.kernel, self.workload, self.replies = name, kernel, workload, list[Reply]()
        self.turn = Turn(name, sample=self._call, prepare=self._prepare, check=self._check)
        self._rng, self._drawn = np.random.default_rng(), 0
        self._probe = self._empty = timed_probe(kernel.operation, workload.name, dtype)

    def once(self) -> float:
        """Seconds of a call that is not kept."""
        self._prepare()
        seconds = self._call(1).elapsed
        self._check()
        return seconds

    def _prepare(self) -> None:
        self._probe = redrawn(self._probe, self._rng)

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
        """Hold the last call to the contract, and give its arrays back: a whole ladder's would fill the memory."""
        try:
            self._hold()
        finally:
            self._probe = self._empty

    def _hold(self) -> None:
        """Raises Refusal where the submission's result is wrong, NotRaced where a rung's is."""
        reply, number = self.replies[-1], len(self.replies) - 1
        if number % EVERYWHERE == 0:
            self._drawn = number + int(self._rng.integers(EVERYWHERE))
        rung = self.kernel.language == "rung"
        if not reply.problem:
            seems = seems_right(self.kernel, self._probe, self._rng)
            drawn = not rung and number == self._drawn and may_be_looked_at_everywhere(self._probe)
            if (rung and number and seems is None) or (seems and not drawn):
                return
        seen = self.kernel.judged(whole(self._probe), reply)
        if rung and not seen.right:
            raise NotRaced(f"the rung {self.name} failed: {(*seen.problems, reply.problem)[0]}")
        if not seen.right:
            raise refusal_of(seen)

    def raced(self, card: MachineCard) -> Raced:
        """The record of its kept calls."""
        shape, dtype, contract = self._probe.shape, self._probe.dtype, self.kernel.operation.contract
        seconds, processor, _ = (tuple(column) for column in zip(*self.turn.readings, strict=True))
        busy = float(np.median(np.divide(processor, seconds)))
        flops, nbytes = contract.flops(**shape), contract.traffic(dtype.itemsize, **shape)
        limit = limit_of(card, flops, nbytes, str(dtype), busy)
        by = limit.by if limit.by == "flops" else limit.level
        share, _ = share_of(seconds, limit.seconds)
        return Raced(self.name, self.workload.name, shape, seconds, processor, limit.seconds, by, share)


def share_of(seconds: Sequence[float], limit: float) -> tuple[Interval | None, str]:
    """The share of the limit that these times reach; None where their interval says nothing, and why.

    >>> share_of([1.0, 0.6, 1.4, 0.7, 1.3, 0.8, 1.2], 1.0)[1]
    'its times are noise: by them it reaches 71 % to 167 % of the limit; time it where less else runs'
    """
    share = median_interval(seconds).over(limit)
    if not share.bounded:
        return None, ""
    if share.high > BEYOND:
        reach = f"{100 * share.low:.0f} % to {100 * share.high:.0f} % of the limit"
        return None, f"its times are noise: by them it reaches {reach}; time it where less else runs"
    return share, ""


# --- the ladder


class Ladder:
    """The rungs of an operation, in a process of their own, which is kept for the next check."""

    def __init__(self, operation: Operation, threads: int) -> None:
        self.operation, self.threads = operation, threads
        self.host = Session(Path("the ladder"), math.inf, call=60.0, memory=8 << 30, threads=threads)
        self._known: dict[tuple[str, str], dict[str, float]] = {}

    def kernel(self, rung: str) -> Kernel:
        """A rung, loaded."""
        request = {"kind": "rung", "name": self.operation.name, "file": "", "threads": self.threads}
        answer = self.host.load(rung, request)
        if "problem" in answer:
            raise NotRaced(f"{rung} cannot be loaded: {answer['problem']['text']}")
        form = PythonForm(True, plan(self.operation).parameters)
        return Kernel(self.operation, self.host.file, "rung", self.host, rung, form)

    def estimates(self, workload: Workload, dtype: np.dtype[Any], own: float, uses: Sequence[str]) -> dict[str, float]:
        """Seconds of a call of each rung, about. It is predicted from a smaller workload where that is far from `own`.

        uses  libraries that the submission has loaded: their rungs take part, besides those that load quickly
        """
        backends = ["python", "numpy", "cpp", *(name for name in ("numba", "torch") if name in uses)]
        quick = [k for k in self.operation.ladder(dtype) if k.backend in backends and not (k.study or k.slow_start)]
        rungs = [k.id for k in quick if k.available() and not k.simulated()]
        contract, known = self.operation.contract, self._known.setdefault((workload.name, str(dtype)), {})
        work = work_of(contract, workload)
        smaller = [w for w in by_work(contract) if work_of(contract, w) < work][:2]
        for rung in rungs:
            if rung in known:
                continue
            kernel = self.kernel(rung)
            trip = min(self.host.live().round_trip() for _ in range(2))
            for w in (*smaller, workload):
                contender = Contender(rung, kernel, w, dtype)
                best = min(contender.once() for _ in range(3))
                known[rung] = best if w is workload else (best - trip) * work / work_of(contract, w)
                if best > ILLEGIBLE * trip and not own / FAR < known[rung] < own * FAR:
                    break
        return {rung: known[rung] for rung in rungs}


@functools.cache
def ladder_of(operation: Operation, threads: int) -> Ladder:
    """This process's ladder of the operation, for rungs with this number of threads."""
    return Ladder(operation, threads)


os.register_at_fork(after_in_child=ladder_of.cache_clear)


# --- the race


def race(
    kernel: Kernel,
    ladder: Ladder,
    *,
    seconds: float = 4.0,
    workload: Workload | None = None,
    card: MachineCard | None = None,
    whole_ladder: bool = False,
    ask: Callable[[Workload, np.dtype[Any], float], None] = lambda workload, dtype, seconds: None,
) -> Placing:
    """Time a kernel next to the rungs that it lies between.

    workload      the largest that fits the time where it is None
    card          the machine's limits; the kept card, or a quick probe, where it is None
    whole_ladder  next to all rungs that fit the time; of the others the time is predicted
    ask           is called with the workload, and what a call of it takes, before anything is timed

    Raises Refusal for what is wrong or impossible while it is timed, NotRaced where it cannot be timed.
    """
    operation, dtype, threads = kernel.operation, kernel.dtypes[0], ladder.threads
    card = card or machine_card(quick=True)
    try:
        session = kernel.host.live()
        session.ask({"do": "time"})
        trip = float(np.median([session.round_trip() for _ in range(15)]))
        chosen = workload or workload_for(kernel, dtype, seconds, trip)
        me = Contender("it", kernel, chosen, dtype)
        ask(chosen, dtype, own := min(me.once() for _ in range(3)))
        if whole_ladder:  # it takes its own time; each call of the submission keeps its limit
            kernel.host.deadline = math.inf
        known = ladder.estimates(chosen, dtype, own, ("numba", "torch") if whole_ladder else kernel.uses)
        wanted, left = sorted(known, key=known.__getitem__) if whole_ladder else neighbours(own, known), max(seconds, 1)
        affordable = []
        for name in filter(None, wanted):
            cost = known[name] * 2 * FEWEST_ROUNDS
            if cost <= left:
                affordable.append(name)
                left -= cost * whole_ladder
        predicted = {name: known[name] for name in wanted if name and name not in affordable} if whole_ladder else {}
        rivals = [Contender(n, ladder.kernel(n), chosen, dtype) for n in affordable]
        for contender in (me, *rivals):
            contender.once()
        end, helped = time.perf_counter() + 2 * seconds + 0.5, session.family.waited_for()
        run_rounds(
            [c.turn for c in (me, *rivals)],
            seconds=seconds,
            least=FEWEST_ROUNDS,
            until=lambda rounds: rounds >= 2 and time.perf_counter() > end,
        )
        if rivals and (changed := ladder.host.priority()) != os.getpriority(os.PRIO_PROCESS, 0):
            ladder.host.close()
            raise NotRaced(f"something gave the rungs' process the priority {changed} while they ran: compare none")
        mine, helped = me.raced(card), session.family.waited_for() - helped
        flops, nbytes = operation.contract.flops(**mine.shape), operation.contract.traffic(dtype.itemsize, **mine.shape)
        work = Work(flops, nbytes, str(dtype), processors())
        reason = why_impossible(kernel.file.name, work, mine.best, card)
        if reason:
            raise Refusal("impossible", reason, "impossible-time", f"on {chosen.name}: {duration(mine.best)}")
    except EndedError as error:
        if error.why in ("timed-out", "sleeps"):  # it was found to be right, which stays
            raise NotRaced(f"too slow here to be timed: {error.text}") from None
        raise explained_end(kernel, error) from None
    samples, median, same = me.turn.samples, float(np.median(me.turn.samples)), None
    for rival in rivals:
        found = ratio(samples, rival.turn.samples)
        known[rival.name] = median * found.estimate
        if found.holds(1) and abs(found.estimate - 1) < 0.05:
            same = rival.name
    known.pop(same or "", None)
    below, above = neighbours(median, known)
    notes = [] if card.measured else ["the limits are from a quick probe: `loopnest machine` measures them well"]
    notes += filter(None, [share_of(mine.seconds, mine.limit)[1]])
    busy = float(np.median(np.divide(mine.processor, mine.seconds))) + helped / sum(mine.seconds)
    if median >= LEGIBLE and busy < 0.5 and np.max(np.divide(mine.processor, mine.seconds)) < 0.8:  # no call was busy
        notes.append(f"it waits: its calls kept a processor busy for {busy:.0%} of their time")
    elif median >= LEGIBLE and busy > threads + 0.3:
        notes.append(f"it kept {busy:.1f} processors busy, and rungs had {threads}: --threads")
    races = (mine, *(c.raced(card) for c in rivals))
    return Placing(str(dtype), threads, races, below, above, same, trip, tuple(notes), predicted)


def workload_for(kernel: Kernel, dtype: np.dtype[Any], seconds: float, trip: float) -> Workload:
    """The workload to race on: the largest whose calls leave time for some dozens of them."""
    longest = min(LONG, seconds / CALLS)

    def measure(workload: Workload) -> float | None:
        contender = Contender("it", kernel, workload, dtype)
        start, times = time.process_time(), [contender.once()]
        while len(times) < 2 or (len(times) < 6 and min(times) < longest):  # the first calls touch new memory
            times.append(contender.once())
        best, judging = min(times), (time.process_time() - start) / len(times)
        if best + judging > max(LONG, seconds / 10):
            return math.inf
        return best - trip if best > max(ILLEGIBLE * trip, LEGIBLE) else None

    most = MOST_BYTES if seconds >= 2 else MOST_BYTES // 4
    return fitting(kernel.operation.contract, longest, measure, itemsize=dtype.itemsize, most_bytes=most)[-1]


def neighbours(own: float, known: Mapping[str, float]) -> tuple[str | None, str | None]:
    """The rungs that are next to this time: the slower one and the faster one, where there are such."""
    slower = min(((s, name) for name, s in known.items() if s >= own), default=(own, None))
    faster = max(((s, name) for name, s in known.items() if s < own), default=(own, None))
    return slower[1], faster[1]
