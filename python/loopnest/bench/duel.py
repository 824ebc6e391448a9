"""Which of two implementations is faster, and by how much? Timed in turn, on the same memory, until it is certain.

>>> import loopnest as ln
>>> from loopnest.bench.duel import duel
>>> found = duel(ln.matmul, "cpp.packed", "cpp.naive")   # doctest: +SKIP
>>> print(found.bouts[0].sentence("cpp.packed", "cpp.naive"))   # doctest: +SKIP
cpp.packed is 47.1× (46.8–47.5) as fast as cpp.naive

The rounds, their interval and when they end are `timing.turns.run_until_certain`'s. One side is called faster only if
the interval that holds the truth in 99 % of duels leaves 1 out, and if the difference is larger than the noise floor, a
fixed piece of work against itself. Everything else is *unresolved*.

There is one set of inputs and one of results (stage.py). Results are checked before, while and after they are timed,
and again with other values in the same arrays, which catches a kernel that remembers its results. docs/measuring.md
gives the reasons.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

import msgspec
import numpy as np

from ..arrays import FLOATS
from ..backends import SIMULATED
from ..machine.card import card as kept_card
from ..machine.plausible import Work, why_impossible
from ..machine.records import MachineCard
from ..operation import Implementation, Operation, UnavailableError, Workload
from ..output.text import duration
from ..timing.budget import fitting
from ..timing.conditions import Conditions, Monitor
from ..timing.fairness import Terms, check_budget, check_cores, described, equal_terms, read_back
from ..timing.interval import Interval
from ..timing.turns import (
    CERTAIN,
    LEGIBLE,
    WINDOW,
    Caches,
    Clock,
    Eviction,
    Timing,
    TooSlowError,
    calibrate,
    clock_step,
    run_until_certain,
    seconds_of,
)
from ..verify import judge_call
from ..verify.problem import WrongResult
from .stage import Side, Stage
from .user_rung import returned_by, rung_from_file

LONG = 25e-3
"""Seconds of a call in the workload that is chosen by default: short enough for a hundred rounds in a few seconds, and
long enough that most of a call is work."""

SHORTEST = 20
"""A single call must take this number of the clock's steps; shorter calls have no figure for cold caches."""

SLOW_REFERENCE = 3.0
"""Seconds of the exact result from which on it is not computed a second time, for other values."""

OnEvent = Callable[[str, Any], None]


class RefusedError(RuntimeError):
    """A comparison is not made, or its figures are not shown; the message says why."""


@dataclass(frozen=True)
class Bout:
    """One comparison, with warm or with cold caches.

    ratio       how many times as fast a is as b, with the interval in which it lies in 95 % of duels
    rounds      of two samples of each
    ended       "narrow": the interval was as narrow as was asked; "time": the time was up
    difference  the noise floor: the fraction by which the ratio must differ from 1
    certain     the interval in which the ratio lies in 99 % of duels, by which one is faster or neither
    """

    caches: Caches
    a: Timing
    b: Timing
    ratio: Interval
    rounds: int
    ended: Literal["narrow", "time"]
    difference: float
    certain: Interval

    @property
    def faster(self) -> Literal["a", "b"] | None:
        """The faster one; None where it is unresolved."""
        if self.certain.low > 1 and self.ratio.estimate > 1 + self.difference:
            return "a"
        if self.certain.high < 1 and self.ratio.estimate < 1 / (1 + self.difference):
            return "b"
        return None

    def sentence(self, a: str, b: str) -> str:
        """The answer in words; the faster one first."""
        r = self.ratio
        if self.faster == "b":
            return dataclasses.replace(self, ratio=r.over(1), certain=self.certain.over(1)).sentence(b, a)
        b = "itself" if a == b else b
        answer = f"{a} is {_times(r.estimate, r)}× ({_times(r.low, r)}–{_times(r.high, r)}) as fast as {b}"
        if self.faster == "a":
            return answer
        if not r.bounded:
            return f"unresolved: {self.rounds} rounds are too few for an interval"
        if r.holds(1.0):
            return f"unresolved: {answer}"
        if abs(math.log(r.estimate)) <= math.log1p(self.difference):
            return f"unresolved: {answer}, within the noise floor of {self.difference:.1%}"
        return f"unresolved: {answer}, and not yet {CERTAIN:.0%} certain"


def _times(value: float, interval: Interval) -> str:
    """With the digits that the interval's width leaves meaningful; three for a ratio near 1."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 2 and interval.width < 0.01 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Duel:
    """Two implementations, compared: all samples, the terms, and the state of the machine.

    limit    seconds that the machine needs for a call at least, with warm caches
    refused  why there are no figures: a time was too good to be true, or a result was wrong while it was timed
    notes    what a reader should know about the figures
    """

    operation: str
    a: str
    b: str
    workload: str
    shape: Mapping[str, int]
    dtype: str
    flops: int
    bytes: int
    limit: float
    terms: Terms
    conditions: Conditions
    bouts: tuple[Bout, ...] = ()
    refused: str = ""
    notes: tuple[str, ...] = ()
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def warnings(self) -> list[str]:
        return [*self.terms.warnings, *self.conditions.warnings()]

    def to_json(self) -> dict[str, Any]:
        """The record as JSON has it, with the winner of each bout."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        for bout, row in zip(self.bouts, data["bouts"], strict=True):
            row["faster"] = bout.faster
        return data


def duel(
    operation: Operation,
    a: str | Path | Implementation,
    b: str | Path | Implementation,
    *,
    workload: str | None = None,
    dtype: Any = np.float32,
    threads: int = 1,
    seconds: float = 4.0,
    precision: float = 0.01,
    caches: Sequence[Caches] = ("warm", "cold"),
    out: bool = True,
    card: MachineCard | None = None,
    on_event: OnEvent = lambda kind, content: None,
) -> Duel:
    """Compare two implementations.

    a, b       ids, such as "cpp.packed" or "numpy"; implementations; or Python files, see user_rung.py
    workload   its name; by default the largest in which a call of the slower one takes at most 25 ms
    dtype      float32 or float64
    threads    that each may use
    seconds    the longest time of a comparison; there is one for each kind of caches
    precision  stop early once the interval's half-width is below this fraction of the ratio
    caches     "warm", "cold" or both
    out        whether both are given memory for their results, or both allocate it. Where one is a file's function
               that returns its result, both allocate
    card       the machine's limits; by default the kept machine card, which is measured if there is none yet

    Raises ValueError for arguments that cannot be, UnavailableError for what cannot run here, WrongResult where a
    result is not within its contract's bound before anything is timed, UnfairError where the terms would not be equal.
    If a result is wrong while it is timed, or a time beats the machine's limit, the Duel's `refused` says so.
    """
    dtype = np.dtype(dtype)
    if dtype not in FLOATS:
        raise ValueError(f"duel: dtype is {dtype}, expected float32 or float64")
    known = {each.name: each for each in operation.contract.workloads}
    if workload is not None and workload not in known:
        raise ValueError(f"{operation.name}: no workload is called {workload!r}. Known: {', '.join(known)}")
    check_budget(threads)
    for name, value in (("seconds", seconds), ("precision", precision)):
        if value <= 0:
            raise ValueError(f"duel: {name} is {value}, expected more than 0")
    with ExitStack() as stack:
        implementations = [_implementation(operation, side, stack) for side in (a, b)]
        for implementation in implementations:
            _check_available(implementation)
        numba_threads = any(_is_file(side) and "numba" in Path(str(side)).read_text("utf-8") for side in (a, b))
        terms = stack.enter_context(equal_terms(threads, numba_threads=numba_threads))
        on_event("at", "the machine card, measured at the first time")
        card = card or kept_card()
        on_event("at", "choosing a workload" if workload is None else "the exact result")
        first_calls: dict[str, float] = {}
        chosen = _largest(implementations, dtype, first_calls) if workload is None else known[workload]
        stage = Stage(operation, chosen, dtype)
        given = out and not any(map(returned_by, implementations))
        sides = [Side(implementation, stage, given) for implementation in implementations]
        if stage.updates:
            where = "in place: inputs are restored before each sample"
        elif given:
            where = "written into memory that both are given, the same for both"
        else:
            where = "both allocate their own at each call, which counts"
        terms = dataclasses.replace(terms, inputs=_inputs(stage), out=where)
        return _Contest(stage, sides, terms, card, first_calls, on_event).run(seconds, precision, caches)


def _implementation(operation: Operation, side: str | Path | Implementation, stack: ExitStack) -> Implementation:
    if isinstance(side, Implementation):
        return side
    return stack.enter_context(rung_from_file(operation, side)) if _is_file(side) else operation[str(side)]


def _check_available(implementation: Implementation) -> None:
    reason = implementation.why_unavailable()
    if reason:
        raise UnavailableError(f"{implementation.operation.name}: {implementation.id} cannot run here: {reason}")
    if implementation.simulated():
        raise RefusedError(f"{implementation.id} is {SIMULATED}")
    if implementation.backend == "torch":
        importlib.import_module("torch")  # before its threads are set


def _is_file(side: str | Path | Implementation) -> bool:
    return isinstance(side, Path) or (isinstance(side, str) and (side.endswith(".py") or "/" in side))


def _largest(
    implementations: Sequence[Implementation], dtype: np.dtype[Any], first_calls: dict[str, float]
) -> Workload:
    """The largest workload in which a call of the slower side takes LONG at most."""
    contract = implementations[0].operation.contract

    def measure(workload: Workload) -> float:
        arguments = contract.sample(workload, dtype, np.random.default_rng(0))
        slowest = 0.0
        for implementation in implementations:
            call = functools.partial(implementation, *arguments.inputs, **arguments.options)
            first_calls.setdefault(implementation.id, seconds_of(call))
            slowest = max(slowest, min(seconds_of(call) for _ in range(3)))
        return slowest

    return fitting(contract, LONG, measure, itemsize=dtype.itemsize)[-1]


def _inputs(stage: Stage) -> tuple[str, ...]:
    names = inspect.signature(stage.operation.contract.run).parameters
    values = zip([name for name in names if name != "kernel"], stage.problem.inputs, strict=False)
    arrays = [described(name, x) if isinstance(x, np.ndarray) else f"{name} a {type(x).__name__}" for name, x in values]
    return (*arrays, "the same memory for both")


@dataclass
class _Contest:
    """A duel that is going on.

    first_calls  seconds of each side's very first call
    """

    stage: Stage
    sides: Sequence[Side]
    terms: Terms
    card: MachineCard
    first_calls: dict[str, float]
    on_event: OnEvent
    notes: list[str] = field(default_factory=list)

    def run(self, seconds: float, precision: float, caches: Sequence[Caches]) -> Duel:
        operation, workload, dtype = self.stage.operation, self.stage.workload, self.stage.dtype
        flops = operation.contract.flops(**workload.shape)
        nbytes = operation.contract.traffic(dtype.itemsize, **workload.shape)
        work = Work(flops, nbytes, str(dtype), self.terms.threads)
        self._check_before()
        self.on_event("at", "the noise floor")
        monitor = Monitor()
        bouts, refused = [], ""
        try:
            for kind in caches:
                bout = self._bout(kind, seconds, precision, monitor.floor.reach(1.0), work)
                if bout is not None:
                    bouts.append(bout)
            self._check_after()
            read_back(self.terms.threads)
        except (WrongResult, RefusedError) as reason:
            bouts, refused = [], str(reason)
        single = self.terms.threads == 1 and not self._waits()
        firsts = ", ".join(f"{side} {duration(s)}" for side, s in self.first_calls.items())
        counted = (
            "what a call packs, copies or converts is in its time",
            f"first calls are not, with what they compile and load: {firsts}",
        )
        return Duel(
            operation=operation.name,
            a=self.sides[0].id,
            b=self.sides[1].id,
            workload=workload.name,
            shape=dict(workload.shape),
            dtype=str(dtype),
            flops=flops,
            bytes=nbytes,
            limit=self.card.least_seconds(flops, nbytes, str(dtype), self.terms.threads),
            terms=dataclasses.replace(self.terms, counted=counted),
            conditions=monitor.conditions([r for side in self.sides for r in side.readings] if single else []),
            bouts=tuple(bouts),
            refused=refused,
            notes=tuple(self.notes),
        )

    def _check_before(self) -> None:
        """The very first call is timed apart."""
        stage, name = self.stage, self.stage.operation.name
        exact, bound = tuple(stage.problem.exact), tuple(stage.problem.bound)
        for side in self.sides:
            self.on_event("at", f"checking {side.id}")
            stage.poison(stage.results)
            try:
                self.first_calls.setdefault(side.id, seconds_of(side.call))
            except Exception as error:
                raise WrongResult(
                    f"{name} {side.id} raised {type(error).__name__} at its first call: {error}"
                ) from error
            side.hold(stage.problems(side.last), "at its first call")
            arguments = stage.operation.contract.sample(stage.workload, stage.dtype, np.random.default_rng(0))
            side.hold(judge_call(side.implementation, arguments, None, answer=(exact, bound)), "in a call")

    def _check_after(self) -> None:
        """On the arrays that were timed: with the values that they have, and with others."""
        for side in self.sides:
            side.check("after it was timed")
        if self.stage.seconds_of_reference > SLOW_REFERENCE:
            self.notes.append("results were not checked with other values, since the exact ones take too long")
            return
        self.on_event("at", "checking with other values")
        self.stage.change_values()
        for side in self.sides:
            side.check("with other values in the arrays that were timed: does it remember results?")

    def _bout(self, caches: Caches, seconds: float, precision: float, difference: float, work: Work) -> Bout | None:
        evict = Eviction()
        a, b = turns = [side.turn(caches, evict) for side in self.sides]
        if caches == "warm":
            calibrate(turns, WINDOW)
        else:
            for turn in turns:
                if turn.read().elapsed < SHORTEST * clock_step():
                    self.notes.append(f"no cold caches: a single call of {turn.name} is too short for the clock")
                    return None
        title = f"{a.name} against {b.name}, {caches} caches"
        try:
            outcome = run_until_certain(
                a,
                b,
                seconds=seconds,
                precision=precision,
                choose_clock=self._clock,
                on_round=lambda rounds, most: self.on_event("round", (title, rounds, most)),
            )
        except TooSlowError as error:
            raise RefusedError(str(error)) from None
        timings = [turn.timing(self.first_calls[turn.name], caches) for turn in turns]
        for turn, timing in zip(turns, timings, strict=True):
            check_cores(turn.name, turn.readings, self.terms.threads)
            reason = why_impossible(f"{turn.name} ({caches} caches)", work, timing.best, self.card)
            if reason:
                raise RefusedError(reason)
        return Bout(
            caches, timings[0], timings[1], outcome.ratio, outcome.rounds, outcome.ended, difference, outcome.certain
        )

    def _clock(self) -> Clock:
        """The processor's time for one thread that never waits: the time that other processes take is not in it. The
        time that passes for several threads, for samples that are short compared with reading the processor's clock,
        and for work that waits for something, such as another process or a device."""
        taken = [side.turns[-1].readings for side in self.sides]
        short = any(median(reading.elapsed for reading in readings) < LEGIBLE for readings in taken)
        return "elapsed" if self.terms.threads > 1 or short or self._waits() else "processor"

    def _waits(self) -> bool:
        """Whether a side gives its processor up, in most of its samples."""
        return any(median([reading.waits for reading in side.readings] or [0]) > 0 for side in self.sides)
