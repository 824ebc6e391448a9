"""Measuring one implementation on one workload: whether that fits the time, that the result is right, and how long.

Slow rungs get small workloads by their time and not by a list: a rung starts on the smallest, and the time of a call on
the next is predicted from it. All rungs get the same inputs and write into the same arrays, made beforehand; what is
timed is the kernel alone, with the arguments that the operation's checks have let through.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from ..arrays import Array
from ..backends import SIMULATED
from ..layout.traffic import Stream, expected
from ..machine.plausible import Limit, limit_of
from ..machine.records import MachineCard
from ..operation import Contract, Implementation, Operation, Workload
from ..timing.budget import Rates, by_work, work_of
from ..timing.turns import seconds_of
from ..verify import compare
from .records import NotRun, Record, kept

DTYPE = np.dtype(np.float32)

CALLS = 2
"""The fewest calls of a measurement: one whose result is checked, and one that counts."""

ROUND = 200e-6
"""Seconds that a round takes at least, in as many calls as that needs; reading the clock takes well below 1 % of it."""

ON_A_GPU = ("cuda", "cuda_cpp")
"""Backends whose limits are not this machine card's."""

TOO_SLOW = "its time, predicted from a smaller workload, is over the limit"
TOO_SLOW_AFTER_ALL = "a call took much longer than was predicted from a smaller workload"
TOO_LATE = "no time was left for it in this run"
INCOMPLETE = "another row of its table would take too long"
TOO_LARGE = "its arrays are larger than a quick run fills"
_TAKES_TOO_LONG = (TOO_SLOW, TOO_SLOW_AFTER_ALL, TOO_LATE)
SLOW_START = "its first call compiles for many seconds, so a quick run leaves it out"


@dataclass(frozen=True)
class Plan:
    """How much time a run may take.

    seconds      of a measurement, where its calls are short
    patience     seconds of a measurement with the fewest calls; what would take longer is not run
    step         the least ratio of the work of two neighbouring workloads on a ladder
    most_bytes   of a workload's compulsory traffic
    total        seconds of the whole run
    complete     whether a comparison, if it is no ladder, leaves a workload out that one of its rows cannot run
    slow_starts  whether to run rungs whose first call compiles for many seconds
    accesses     about as many as are simulated at most for one row, a hundred million a second
    """

    seconds: float
    patience: float
    step: float = 1.0
    most_bytes: int = 1 << 30
    total: float = math.inf
    complete: bool = False
    slow_starts: bool = True
    accesses: int = 400_000_000

    def climb(self, contract: Contract) -> list[Workload]:
        """The workloads of a ladder, from the least work to the most."""
        chosen: list[Workload] = []
        for workload in by_work(contract):
            if not chosen or work_of(contract, workload) >= self.step * work_of(contract, chosen[-1]):
                chosen.append(workload)
        return chosen


FULL = Plan(seconds=0.2, patience=2.0)
QUICK = Plan(
    seconds=0.02,
    patience=0.8,
    step=6.0,
    most_bytes=100_000_000,
    total=50.0,
    complete=True,
    slow_starts=False,
    accesses=40_000_000,
)


class Budget:
    """Decides which rung may run which workload, and shares the time of a run between suites and studies.

    >>> budget = Budget(Plan(seconds=0.1, patience=1.0))
    >>> budget.why_not("a rung", work=1_000)      # the first workload is always tried
    >>> budget.note("a rung", work=1_000, seconds=0.01)
    >>> budget.why_not("a rung", work=10_000)
    >>> budget.why_not("a rung", work=60_000)     # 2 calls of 0.6 s
    'its time, predicted from a smaller workload, is over the limit'
    """

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.perf_counter) -> None:
        self.plan = plan
        self._clock = clock
        self._end = self._suite_end = self._study_end = clock() + plan.total
        self._rates = Rates()

    def start_suite(self, share: float) -> None:
        """Give the suite that begins its share of the time that is left; what it leaves goes to those after it."""
        self._suite_end = self._study_end = self._after(share, self._end)

    def start_study(self, share: float) -> None:
        """Give the suite's next study its share of the suite's time in the same way."""
        self._study_end = self._after(share, self._suite_end)

    def _after(self, share: float, end: float) -> float:
        now = self._clock()
        return now + share * (end - now)

    def patience(self) -> float:
        """Seconds that one measurement may take: a tenth of the study's time that is left, at most."""
        return min(self.plan.patience, (self._study_end - self._clock()) / 10)

    def note(self, who: Hashable, work: int, seconds: float) -> None:
        self._rates.note(who, work, seconds)

    def why_not(self, who: Hashable, work: int) -> str | None:
        """The reason, or None. While the run lasts each has its first workload, whatever its study's share of it."""
        predicted = self._rates.predicted(who, work)
        if predicted is None:
            return TOO_LATE if self._clock() >= self._end else None
        patience = self.patience()
        if patience <= 0:
            return TOO_LATE
        return TOO_SLOW if CALLS * predicted > patience else None


class Clock:
    """time.perf_counter for pytest-benchmark, which also notes how much processor time has passed."""

    __name__ = "perf_counter"

    def __init__(self) -> None:
        self._readings: list[tuple[float, float]] = []

    def __call__(self) -> float:
        now = time.perf_counter()
        self._readings.append((now, time.process_time()))
        return now

    def reset(self) -> None:
        self._readings.clear()

    def cores(self) -> float:
        """How many cores were busy between the readings at a round's start and at its end, in all rounds together: of
        threads beside the caller's the system counts the time in ticks of some milliseconds, longer than a round."""
        rounds = self._rounds()
        elapsed = sum(seconds for seconds, _ in rounds)
        return max(1.0, sum(seconds * busy for seconds, busy in rounds) / elapsed) if elapsed else 1.0

    def cores_at_best(self) -> float:
        """How many were in the fastest round. On a busy machine two threads have a core between them for most of the
        time, and the best time is from when they had two: the limit that it is held to is theirs."""
        return max(self.cores(), min(self._rounds(), default=(0.0, 1.0))[1])

    def _rounds(self) -> list[tuple[float, float]]:
        """Of each its seconds, and how many cores were busy."""
        starts, ends = self._readings[0::2], self._readings[1::2]
        return [(t1 - t0, (cpu1 - cpu0) / (t1 - t0)) for (t0, cpu0), (t1, cpu1) in zip(starts, ends, strict=False)]


class Refused(Exception):
    """Why something is not run."""


class WrongResult(AssertionError):
    """An implementation's result is not within its contract's bound."""


@dataclass(frozen=True)
class Problem:
    """The arguments of the calls that are timed, the memory for their results, and what is right."""

    contract: Contract
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    out: Any
    exact: Sequence[Array]
    bound: Sequence[Array]
    dtype: np.dtype[Any] = DTYPE

    @classmethod
    def sample(
        cls,
        operation: Operation,
        workload: Workload,
        arrange: Arrange | None,
        options: Mapping[str, Any],
        *,
        dtype: np.dtype[Any] = DTYPE,
    ) -> Problem:
        contract = operation.contract
        arguments = contract.sample(workload, dtype, np.random.default_rng(0))
        inputs = arguments.inputs if arrange is None else arrange(*arguments.inputs)
        options = {**arguments.options, **options}
        with np.errstate(all="ignore"):
            exact = [np.asarray(x) for x in contract.reference(*inputs, **options)]
            bound = [np.asarray(x) for x in contract.bound(*inputs, **options)]
        given = () if contract.updates else tuple(np.empty(x.shape, dtype) for x in exact[: contract.outs])
        return cls(contract, inputs, options, given[0] if len(given) == 1 else given or None, exact, bound, dtype)

    def check(self, implementation: Implementation) -> None:
        """Call it on results that hold NaN, and hold what it leaves there to the bound."""
        for array in self.out if isinstance(self.out, tuple) else (self.out,):
            array.fill(np.nan)
        results = self.contract.results(implementation(*self.inputs, **self.options, out=self.out))
        self._hold(results, f"{implementation.operation.name} {implementation.id}")

    def _hold(self, results: Sequence[Array], who: str) -> None:
        for result, exact, bound in zip(results, self.exact, self.bound, strict=True):
            for problem in compare(result, exact, bound, self.dtype):
                raise WrongResult(f"{who}: {problem}")

    def kernel_call(self, implementation: Implementation) -> Callable[[], None]:
        """The call of the kernel that a call of the implementation comes down to."""
        args, _ = self.kernel_arguments()
        return functools.partial(implementation.kernel, *args)

    def watched_call(self, implementation: Implementation) -> tuple[Callable[[], None], Callable[[], None]]:
        """The same, and a check of what it has left in the results' arrays, which hold NaN until then.

        What is updated in place has other values after each call, and is not checked.
        """
        args, results = self.kernel_arguments()
        call = functools.partial(implementation.kernel, *args)
        if self.contract.updates:
            return call, lambda: None
        for array in results:
            array.fill(np.nan)
        who = f"{implementation.operation.name} {implementation.id}, after the timing"
        return call, lambda: self._hold(results, who)

    def kernel_arguments(self) -> tuple[tuple[Any, ...], tuple[Array, ...]]:
        """What the operation's checks let through to a kernel: its arguments; and the results' arrays among them, as
        the caller has them. The same ones each time, but for results that `out` does not take."""
        calls: list[tuple[Any, ...]] = []
        out = {} if self.out is None else {"out": self.out}
        returned = self.contract.run(lambda *args: calls.append(args), *self.inputs, **self.options, **out)
        (args,) = calls  # inputs of any layout that is measured here come as one piece
        return args, tuple(self.inputs[i] for i in self.contract.updates) or self.contract.results(returned)


Arrange = Callable[..., tuple[Any, ...]]
"""Takes an operation's inputs and gives others: in another memory layout, or of another shape."""


class Benchmark(Protocol):
    """What is used here of pytest-benchmark's fixture."""

    name: str
    extra_info: dict[str, Any]
    stats: Any  # None where benchmarks are disabled

    def pedantic(self, target: Callable[..., Any], *, rounds: int, iterations: int) -> Any: ...


@dataclass
class Bench:
    """Measures, one after another, whatever fits the plan.

    card  the machine's, for the records' limits; None where they are to have none
    """

    plan: Plan
    clock: Clock = field(default_factory=Clock)
    card: MachineCard | None = None

    def __post_init__(self) -> None:
        self.budget = Budget(self.plan)
        self._problems: dict[Hashable, Problem] = {}
        self._incomplete: set[Hashable] = set()
        self._warm: set[Hashable] = set()  # who has run in this process, and so compiled and loaded what it needs
        self._fingerprint = ""
        self.take_limits_from(self.card)

    def take_limits_from(self, card: MachineCard | None) -> None:
        """Give the records that follow this card's limits; none where it is None."""
        self.card = card
        told = msgspec.json.encode(card, order="deterministic") if card else b""
        self._fingerprint = hashlib.sha256(told).hexdigest()[:12] if card else ""

    def remember(self, contract: Contract, record: Record) -> None:
        """Predict from a record of a run that this one continues."""
        who = record.study, record.impl, record.case
        self.budget.note(who, work_of(contract, Workload(record.workload, record.shape)), record.median)

    def remember_not_run(self, row: NotRun) -> None:
        """Leave out the rest of a comparison that is incomplete since the run that this one continues."""
        if self.plan.complete and row.reason in _TAKES_TOO_LONG:
            self._incomplete.add((row.study, row.section, row.workload))

    def measure(
        self,
        benchmark: Benchmark,
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
        **options: Any,
    ) -> Record | NotRun | None:
        """Measure one implementation on one workload: a Record, or NotRun with the reason.

        study, section, case, ladder  see Record
        arrange  changes the inputs, in a way that the study and the case name
        traffic  the compulsory bytes where they are not what the contract says, because of `arrange`
        replay   whether to ask the cache simulator what the call moves; or the loops that it should replay
        timed    makes of the problem what is timed in place of the kernel alone, such as a call with all its checks
        options  the operation's

        Raises WrongResult, or what the implementation raises. Gives None where benchmarks are disabled.
        """
        operation, contract = implementation.operation, implementation.operation.contract
        study = study or operation.name
        work = work_of(contract, workload)
        who, table = (study, implementation.id, case), (study, section, workload.name)
        try:
            self._admit(implementation, workload, who, table)
            problem = self._problem(operation, workload, arrange, options, study, case)
            first_call = self._first_call(problem, implementation, who)
        except Refused as reason:
            if self.plan.complete and not ladder and str(reason) in _TAKES_TOO_LONG:
                self._incomplete.add(table)
            row = study, operation.name, implementation.id, workload.name
            return NotRun(suite, *row, reason=str(reason), section=section, case=case)

        call, check = problem.watched_call(implementation) if timed is None else (timed(problem), lambda: None)
        seconds = first_call if who in self._warm and first_call > self.plan.seconds else seconds_of(call)
        if seconds < 1e-3:  # a short call may take several times as long the first time that all it needs is there
            seconds = min(seconds_of(call) for _ in range(5))
        rounds, iterations = self._repeats(seconds)
        self.clock.reset()
        benchmark.pedantic(call, rounds=rounds, iterations=iterations)
        check()
        self._warm.add(who)
        if benchmark.stats is None:
            return None
        stats, cores = benchmark.stats.stats, self.clock.cores()
        flops = contract.flops(**workload.shape)
        nbytes = contract.traffic(DTYPE.itemsize, **workload.shape) if traffic is None else traffic
        record = Record(
            name=benchmark.name,
            suite=suite,
            study=study,
            operation=operation.name,
            impl=implementation.id,
            workload=workload.name,
            shape=dict(workload.shape),
            dtype=str(DTYPE),
            flops=flops,
            bytes=nbytes,
            threads=round(cores),
            first_call=first_call,
            stats={**stats.as_dict(), "iterations": iterations, "data": kept(stats.data)},
            section=section,
            case=case,
            ladder=ladder,
            faster_than=implementation.faster_than,
            limit=self._limit(implementation, flops, nbytes, self.clock.cores_at_best()),
            machine=self._fingerprint,
            traffic=self._replayed(implementation, problem, replay) if replay else None,
        )
        benchmark.stats.group = record.group
        benchmark.extra_info.update(record.extra_info())
        self.budget.note(who, work, record.median)
        return record

    def _limit(self, implementation: Implementation, flops: int, nbytes: int, cores: float) -> Limit | None:
        if self.card is None or implementation.backend in ON_A_GPU:
            return None
        return limit_of(self.card, flops, nbytes, str(DTYPE), cores)

    def _admit(self, implementation: Implementation, workload: Workload, who: Hashable, table: Hashable) -> None:
        """Raises Refused where this row is not to be run."""
        contract = implementation.operation.contract
        unavailable = implementation.why_unavailable()
        if unavailable:
            raise Refused(unavailable)
        if implementation.simulated():
            raise Refused(SIMULATED)
        if implementation.slow_start and not self.plan.slow_starts:
            raise Refused(SLOW_START)
        if contract.traffic(DTYPE.itemsize, **workload.shape) > self.plan.most_bytes:
            raise Refused(TOO_LARGE)
        if table in self._incomplete:
            raise Refused(INCOMPLETE)
        reason = self.budget.why_not(who, work_of(contract, workload))
        if reason:
            raise Refused(reason)

    def _first_call(self, problem: Problem, implementation: Implementation, who: Hashable) -> float:
        """Check the result; seconds of that call. Raises Refused where another would take longer than there is time."""
        patience = self.budget.patience()
        seconds = seconds_of(lambda: problem.check(implementation))
        if who in self._warm and seconds > patience:
            raise Refused(TOO_SLOW_AFTER_ALL)
        return seconds

    def _replayed(
        self, implementation: Implementation, problem: Problem, replay: bool | Stream
    ) -> dict[str, Any] | None:
        """After the timing, so that the simulator's work does not disturb it."""
        stream = replay if isinstance(replay, Stream) else None
        found = expected(implementation, problem.inputs, most=self.plan.accesses, stream=stream)
        return msgspec.to_builtins(found) if found else None

    def _repeats(self, seconds: float) -> tuple[int, int]:
        """Rounds, and calls in each, for calls of so many seconds: as the plan says, or three if these fit."""
        iterations = max(1, math.ceil(ROUND / seconds))
        three = min(3, int(self.budget.patience() / seconds) - 2)
        return max(1, three, int(self.plan.seconds / (iterations * seconds))), iterations

    def _problem(
        self,
        operation: Operation,
        workload: Workload,
        arrange: Arrange | None,
        options: Mapping[str, Any],
        study: str,
        case: str,
    ) -> Problem:
        """The problem, kept for the rungs that follow; few are, since they may be large."""
        key = operation.name, workload.name, *options.items(), *((study, case) if arrange else ())
        if key not in self._problems:
            while len(self._problems) >= 5:
                del self._problems[next(iter(self._problems))]
            self._problems[key] = Problem.sample(operation, workload, arrange, options)
        return self._problems[key]
