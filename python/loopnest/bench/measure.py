"""Measuring one implementation on one workload: whether it fits the time, whether the result is right, and how long.

All rungs get the same inputs and write into the same arrays, made beforehand. Only the kernel is timed, with the
arguments that the operation's checks pass to it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from ..backends import SIMULATED
from ..layout.traffic import Replay, Stream
from ..machine.limits import limit_of
from ..machine.records import MachineCard
from ..operation import Contract, Implementation, Operation, Workload
from ..timing.budget import by_work, work_of
from ..timing.turns import Reading, seconds_of, wait_for_other_threads
from ..verify import poison_of
from ..verify.problem import FLOAT32, Arrange, Problem
from .records import NotRun, Record, Stats, kept

CALLS = 2
"""The fewest calls of a measurement: one whose result is checked, and one that counts."""

ROUND = 200e-6
"""The least length of a round in seconds; reading the clock takes well below 1 % of it."""

ON_A_GPU = ("cuda", "cuda_cpp")
"""The machine card's limits do not hold for these backends."""

TOO_SLOW = "its time, predicted from a smaller workload, is over the limit"
TOO_SLOW_AFTER_ALL = "a call took much longer than was predicted from a smaller workload"
TOO_LATE = "no time was left for it in this run"
TOO_LARGE = "its arrays are larger than a quick run fills"
SLOW_START = "its first call compiles for many seconds, so a quick run leaves it out"


@dataclass(frozen=True)
class Plan:
    """How much time a run may take.

    seconds      of a measurement, where its calls are short
    patience     seconds of a measurement with the fewest calls; longer ones are left out
    step         the least ratio of the work of two neighbouring workloads on a ladder
    least_work   of a ladder's first workload: on a smaller one the cost of a call decides
    most_bytes   of a workload's compulsory traffic
    total        seconds of the whole run
    slow_starts  whether to run rungs whose first call compiles for many seconds
    accesses     the simulator replays about this number of accesses for a row at most, a hundred million a second
    """

    seconds: float
    patience: float
    step: float = 1.0
    least_work: int = 0
    most_bytes: int = 1 << 30
    total: float = math.inf
    slow_starts: bool = True
    accesses: int = 400_000_000

    def climb(self, contract: Contract) -> list[Workload]:
        """The workloads of a ladder, from the least work to the most."""
        chosen: list[Workload] = []
        ascending = by_work(contract)
        for workload in [w for w in ascending if work_of(contract, w) >= self.least_work] or ascending[-1:]:
            if not chosen or work_of(contract, workload) >= self.step * work_of(contract, chosen[-1]):
                chosen.append(workload)
        return chosen


FULL = Plan(seconds=0.2, patience=2.0)
QUICK = Plan(
    seconds=0.02,
    patience=0.8,
    step=6.0,
    least_work=20_000,
    most_bytes=100_000_000,
    total=50.0,
    slow_starts=False,
    accesses=40_000_000,
)


class Budget:
    """Decides whether a row fits the time, and shares the time of a run between its studies.

    >>> budget = Budget(Plan(seconds=0.1, patience=1.0))
    >>> budget.why_not("a rung", work=1_000)      # the first workload is always tried
    >>> budget.note("a rung", work=1_000, seconds=0.01)
    >>> budget.why_not("a rung", work=10_000)
    >>> budget.why_not("a rung", work=60_000)     # 2 calls of 0.6 s
    'its time, predicted from a smaller workload, is over the limit'
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.perf_counter) -> None:
        self.plan = plan
        self._rates: dict[Hashable, float] = {}
        self._clock = clock
        self._end = self._study_end = clock() + plan.total

    def start_study(self, share: float) -> None:
        """Give the study that begins its share of the time that is left; the rest goes to the studies after it."""
        now = self._clock()
        self._study_end = now + share * (self._end - now)

    def patience(self) -> float:
        """Seconds that one measurement may take: at most a tenth of the study's time that is left."""
        return min(self.plan.patience, (self._study_end - self._clock()) / 10)

    def why_not(self, who: Hashable, work: int) -> str | None:
        """The reason, or None. While the run lasts each has its first workload, whatever its study's share of it."""
        if who not in self._rates:
            return TOO_LATE if self._clock() >= self._end else None
        patience = self.patience()
        if patience <= 0:
            return TOO_LATE
        return TOO_SLOW if CALLS * work / self._rates[who] > patience else None

    def note(self, who: Hashable, work: int, seconds: float) -> None:
        """Predict from the highest rate that it has reached."""
        self._rates[who] = max(work / seconds, self._rates.get(who, 0.0))


class Clock:
    """time.perf_counter for pytest-benchmark, which also notes the processor time that has passed."""

    __name__ = "perf_counter"

    def __init__(self) -> None:
        self.ticks: list[tuple[float, float]] = []

    def __call__(self) -> float:
        now = time.perf_counter()
        self.ticks.append((now, time.process_time()))
        return now

    @property
    def readings(self) -> list[Reading]:
        """Of each round."""
        rounds = zip(self.ticks[::2], self.ticks[1::2], strict=True)
        return [Reading(end - start, processor_end - processor) for (start, processor), (end, processor_end) in rounds]


def cores_of(readings: Sequence[Reading]) -> tuple[float, float]:
    """How many cores were busy in all rounds together, and in the fastest one if these were more.

    A single round says little: the system counts the time of other threads than the caller's in ticks of some
    milliseconds, which are longer than a round. On a busy machine two threads share a core most of the time; the best
    time is from when they had two, so it is held to the limit of two.
    """
    elapsed, processor, _ = map(sum, zip(*readings, strict=True))
    cores, best = max(1.0, processor / elapsed), min(readings)
    return cores, max(cores, best.processor / best.elapsed)


@dataclass
class Bench:
    """Measures whatever fits the plan, one after another.

    card   the machine's, for the records' limits; None for records without limits
    clock  the timer of the benchmarks
    """

    plan: Plan
    card: MachineCard | None = None
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.budget = Budget(self.plan)
        self._problems: dict[Hashable, Problem] = {}
        self._warm: set[Hashable] = set()  # has run in this process, and so has compiled and loaded what it needs

    def measure(
        self,
        benchmark: Any,
        implementation: Implementation,
        workload: Workload,
        *,
        suite: str,
        study: str = "",
        section: str = "",
        case: str = "",
        ladder: bool = False,
        arrange: Arrange | None = None,
        traffic: int | None = None,
        replay: bool | Stream = False,
        timed: Callable[[Problem], Callable[[], Any]] | None = None,
        outside: str = "",
        dtype: np.dtype[Any] = FLOAT32,
        **options: Any,
    ) -> Record | NotRun | None:
        """Measure one implementation on one workload: a Record, or NotRun with the reason.

        benchmark  pytest-benchmark's fixture; the record goes into its extra_info too
        study, section, case, ladder  see Record
        arrange  changes the inputs; study and case say how
        traffic  the compulsory bytes where `arrange` makes them differ from the contract's
        replay   whether to ask the cache simulator what the call moves; or the loops that it should replay
        timed    makes what is timed in place of the kernel alone, such as a call with all its checks
        outside  how its results leave the contract, which are not checked then; a note below the table
        dtype    the inputs'
        options  the operation's

        Raises WrongResult, or what the implementation raises. Returns None where benchmarks are disabled.
        """
        operation, contract = implementation.operation, implementation.operation.contract
        study = study or operation.name
        who = study, implementation.id, case
        reason = self._why_not(implementation, workload, who, dtype.itemsize)
        if not reason:
            problem = self._problem(operation, workload, arrange, options, (study, case), dtype)
            patience = self.budget.patience()
            first_call = seconds_of(functools.partial(problem.run if outside else problem.check, implementation))
            if who in self._warm and first_call > patience:
                reason = TOO_SLOW_AFTER_ALL
        if reason:
            return NotRun(suite, study, operation.name, implementation.id, workload.name, reason, section, case)

        args, results = problem.kernel_arguments()
        call = timed(problem) if timed else functools.partial(implementation.kernel, *args)
        unchecked = timed or outside or contract.updates  # inputs updated in place change with each call
        checked = () if unchecked else results
        for array in checked:
            array.fill(poison_of(array.dtype))
        wait_for_other_threads()  # of the benchmark before
        seconds = first_call if who in self._warm and first_call > self.plan.seconds else seconds_of(call)
        if seconds < 1e-3:  # a short call may take several times as long until all that it needs is in the caches
            seconds = min(seconds_of(call) for _ in range(5))
        iterations = max(1, math.ceil(ROUND / seconds))
        three = min(3, int(self.budget.patience() / seconds) - 2)
        rounds = max(1, three, int(self.plan.seconds / (iterations * seconds)))
        self.clock.ticks.clear()
        benchmark.pedantic(call, rounds=rounds, iterations=iterations)
        if checked:
            problem.hold(checked, f"{operation.name} {implementation.id}, after the timing")
        self._warm.add(who)
        if benchmark.stats is None:
            return None
        stats = benchmark.stats.stats
        cores, cores_at_best = cores_of(self.clock.readings)
        flops = contract.flops(**workload.shape)
        nbytes = contract.traffic(dtype.itemsize, **workload.shape) if traffic is None else traffic
        limit, moved = None, None
        if self.card is not None and implementation.backend not in ON_A_GPU:
            limit = limit_of(self.card, flops, nbytes, str(dtype), cores_at_best)
        if replay:  # after the timing, so that the simulator's work does not disturb it
            stream = replay if isinstance(replay, Stream) else None
            with contextlib.suppress(ValueError, TypeError):  # raised for what cannot be replayed
                moved = Replay.of(implementation, problem.inputs, stream=stream).within(self.plan.accesses)
        record = Record(
            name=benchmark.name,
            suite=suite,
            study=study,
            operation=operation.name,
            impl=implementation.id,
            workload=workload.name,
            shape=dict(workload.shape),
            dtype=str(dtype),
            flops=flops,
            bytes=nbytes,
            threads=round(cores),
            first_call=first_call,
            stats=msgspec.convert({**stats.as_dict(), "iterations": iterations, "data": kept(stats.data)}, Stats),
            section=section,
            case=case,
            ladder=ladder,
            faster_than=implementation.faster_than,
            limit=limit,
            traffic=moved,
            note=outside,
        )
        benchmark.stats.group = record.group
        benchmark.extra_info.update(record.extra_info())
        self.budget.note(who, work_of(contract, workload), record.median)
        return record

    def _why_not(self, rung: Implementation, workload: Workload, who: Hashable, itemsize: int) -> str | None:
        """Why this row is not to be run."""
        contract = rung.operation.contract
        unavailable = rung.why_unavailable()
        if unavailable:
            return unavailable
        if rung.simulated():
            return SIMULATED
        if rung.slow_start and not self.plan.slow_starts:
            return SLOW_START
        if contract.traffic(itemsize, **workload.shape) > self.plan.most_bytes:
            return TOO_LARGE
        return self.budget.why_not(who, work_of(contract, workload))

    def _problem(
        self,
        operation: Operation,
        workload: Workload,
        arrange: Arrange | None,
        options: Mapping[str, Any],
        arranged: tuple[str, str],
        dtype: np.dtype[Any],
    ) -> Problem:
        """The problem, kept for the rungs that follow; only five are kept, since they may be large."""
        key = operation.name, workload.name, dtype, *options.items(), *(arranged if arrange else ())
        if key not in self._problems:
            while len(self._problems) >= 5:
                del self._problems[next(iter(self._problems))]
            self._problems[key] = Problem.sample(operation, workload, arrange, options, dtype=dtype)
        return self._problems[key]
