"""Which of two implementations is faster, and by how much? Timed in turn, on the same memory, until the answer is
certain.

>>> import loopnest as ln
>>> from loopnest.bench.duel import duel
>>> fought = duel(ln.matmul, "cpp.packed", "cpp.naive")   # doctest: +SKIP
>>> print(fought.bouts[0].sentence("cpp.packed", "cpp.naive"))   # doctest: +SKIP
cpp.packed is 47.1× (46.8–47.5) as fast as cpp.naive

**In turn.** A round is A B B A or B A A B, as a coin decides. What disturbs the machine longer than a round disturbs
both; what comes with being first, or in a rhythm, comes to each with equal odds (`timing.rounds_of_two`).

**The ratio** is the median of the rounds' ratios, and its interval that of the sign test, which needs no assumption of
how the noise is distributed and holds for ten rounds (`timing.ratio`).

**When it ends.** Whoever looks after each round and stops when the interval happens to be narrow has an interval that
holds the truth less often than it says (optional stopping). So the looks are few and set beforehand: at a 16th, an
8th, … of the rounds that the time allows; and with k looks each interval has the confidence 1 - 0.05 / k, so that all
of them together hold the truth in 95 % of duels, whichever one it ends at (Bonferroni).

**Said is "faster"** only if an interval that holds the truth in 99 % of duels leaves 1 out, and if the difference is
larger than the noise floor, which is that of a fixed piece of work against itself. All else is *unresolved*.

**The same memory.** There is one set of inputs and one of results; results are filled with NaN at up to 1,024 places
before each sample, and held to the contract there after it. After the last sample all of it is checked, and so is a
call with other values in the same arrays, by which a kernel shows that remembers its results.
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
from .measure import WrongResult
from .sides import Side, Stage
from .user_rung import returned_by, rung_from_file

LONG = 25e-3
"""Seconds of a call in the workload that is chosen where none is named: short enough for a hundred rounds in a few
seconds, and long enough that most of a call is work."""

SHORTEST = 20
"""A single call is timed only if it takes so many of the clock's steps; shorter ones have no figure for cold caches."""

SLOW_REFERENCE = 3.0
"""Seconds of the exact result from which on it is not computed a second time, for other values."""

Winner = Literal["a", "b"]
OnEvent = Callable[[str, Any], None]


class RefusedError(RuntimeError):
    """A comparison that is not made, or whose figures are not shown; the message says why."""


@dataclass(frozen=True)
class Bout:
    """One comparison, with warm or with cold caches.

    ratio       how many times as fast a is as b, with the interval in which it lies in 95 % of duels
    rounds      of two samples of each
    ended       "narrow": the interval was as narrow as was asked; "time": the time was up
    difference  what the ratio must be away from 1, as a share, to be told from noise
    certain     the interval in which the ratio lies in 99 % of duels, by which somebody is faster or nobody
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
    def faster(self) -> Winner | None:
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
            inverse = dataclasses.replace(self, ratio=r.over(1), certain=self.certain.over(1))
            return inverse.sentence(b, a)
        b = "itself" if a == b else b
        bounds = f"({_times(r.low, r)}–{_times(r.high, r)})"
        if self.faster == "a":
            return f"{a} is {_times(r.estimate, r)}× {bounds} as fast as {b}"
        if math.isinf(r.low) or r.low == 0:
            return f"unresolved: {self.rounds} rounds are too few for an interval"
        within = "within the noise floor of" if abs(math.log(r.estimate)) <= math.log1p(self.difference) else ""
        unsure = f", {within} {self.difference:.1%}" if within else f", and not yet {CERTAIN:.0%} certain"
        reason = "" if r.holds(1.0) else unsure
        return f"unresolved: {a} is {_times(r.estimate, r)}× {bounds} as fast as {b}{reason}"


def _times(value: float, interval: Interval) -> str:
    """With as many digits as the interval's width leaves some meaning; three for a ratio near 1."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 2 and interval.width < 0.01 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


@dataclass(frozen=True)
class Duel:
    """Two implementations, compared: all samples, on what terms, and in which state the machine was.

    limit    seconds that the work of a call takes at least, by the machine's limits, with warm caches
    refused  why no figures are here: one was too good to be true, or a result was wrong once the clock ran
    notes    what a reader should know beside the figures
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
    workload   its name; the largest in which a call of the slower one takes 25 ms where it is None
    dtype      float32 or float64
    threads    that each may use, see fairness.py
    seconds    of a comparison at most; there is one for each kind of caches
    precision  the half width of the interval, as a share of the ratio, at which a comparison ends before that
    caches     "warm", "cold" or both
    out        whether results go into memory that both are given, or both allocate their own. Where one is a file's
               function that returns its result, both do
    card       the machine's limits; the kept machine card where it is None, which is measured if there is none yet

    Raises ValueError for arguments that cannot be, UnavailableError for what cannot run here, WrongResult where a
    result is not within its contract's bound before anything is timed, UnfairError where the terms would not be equal.
    A result that is wrong while it is timed, and a time that beats the machine's limit, are told in the Duel's
    `refused`.
    """
    dtype = _checked_dtype(dtype)
    check_budget(threads)
    if seconds <= 0 or precision <= 0:
        name, value = ("seconds", seconds) if seconds <= 0 else ("precision", precision)
        raise ValueError(f"duel: {name} is {value}, expected more than 0")
    with ExitStack() as stack:
        sides = [_implementation(operation, side, stack) for side in (a, b)]
        for implementation in sides:
            _check_available(implementation)
        terms = stack.enter_context(equal_terms(threads, numba_threads=any(map(_is_file_with_numba, (a, b)))))
        given = out and not any(map(returned_by, sides))
        on_event("at", "the machine card, measured at the first time")
        if card is None:
            from ..machine.card import card as kept_card

            card = kept_card()
        on_event("at", "choosing a workload" if workload is None else "the exact result")
        first_calls: dict[str, float] = {}
        chosen = _workload(operation, workload) if workload else _largest(sides, dtype, first_calls)
        stage = Stage(operation, chosen, dtype)
        return _Fight(stage, sides, terms, given, card, first_calls, on_event).fight(seconds, precision, caches)


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    checked: np.dtype[Any] = np.dtype(dtype)
    if checked not in FLOATS:
        raise ValueError(f"duel: dtype is {checked}, expected float32 or float64")
    return checked


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


def _is_file_with_numba(side: str | Path | Implementation) -> bool:
    return _is_file(side) and "numba" in Path(str(side)).read_text(encoding="utf-8")


def _workload(operation: Operation, name: str) -> Workload:
    known = {workload.name: workload for workload in operation.contract.workloads}
    if name not in known:
        raise ValueError(f"{operation.name}: no workload is called {name!r}. Known: {', '.join(known)}")
    return known[name]


def _largest(sides: Sequence[Implementation], dtype: np.dtype[Any], first_calls: dict[str, float]) -> Workload:
    """The largest workload in which a call of the slower side takes LONG at most."""
    contract = sides[0].operation.contract

    def measure(workload: Workload) -> float:
        arguments = contract.sample(workload, dtype, np.random.default_rng(0))
        slowest = 0.0
        for side in sides:
            call = functools.partial(side, *arguments.inputs, **arguments.options)
            first_calls.setdefault(side.id, seconds_of(call))
            slowest = max(slowest, min(seconds_of(call) for _ in range(3)))
        return slowest

    return fitting(contract, LONG, measure, itemsize=dtype.itemsize)[-1]


class _Fight:
    """A duel that is going on."""

    def __init__(
        self,
        stage: Stage,
        implementations: Sequence[Implementation],
        terms: Terms,
        given: bool,
        card: MachineCard,
        first_calls: dict[str, float],
        on_event: OnEvent,
    ) -> None:
        operation, workload, dtype = implementations[0].operation, stage.workload, stage.dtype
        self.operation, self.workload, self.dtype, self.terms = operation, workload, dtype, terms
        self.card, self.first_calls, self.on_event = card, first_calls, on_event
        self.stage = stage
        self.sides = [Side(k, self.stage, given) for k in implementations]
        self.work = Work(
            operation.contract.flops(**workload.shape),
            operation.contract.traffic(dtype.itemsize, **workload.shape),
            str(dtype),
            terms.threads,
        )
        self.notes: list[str] = []
        self.given = given

    def fight(self, seconds: float, precision: float, caches: Sequence[Caches]) -> Duel:
        self._check_results()
        self.on_event("at", "the noise floor")
        monitor = Monitor()
        evict = Eviction()
        bouts, refused = [], ""
        try:
            for kind in caches:
                bout = self._bout(kind, seconds, precision, monitor, evict)
                if bout is not None:
                    bouts.append(bout)
            self._check_results_again()
            read_back(self.terms.threads)
        except (WrongResult, RefusedError) as reason:
            bouts, refused = [], str(reason)
        single = self.terms.threads == 1 and not self._waits()
        readings = [reading for side in self.sides for reading in side.readings] if single else []
        contract = self.operation.contract
        return Duel(
            self.operation.name,
            self.sides[0].id,
            self.sides[1].id,
            self.workload.name,
            dict(self.workload.shape),
            str(self.dtype),
            contract.flops(**self.workload.shape),
            contract.traffic(self.dtype.itemsize, **self.workload.shape),
            self.card.least_seconds(self.work.flops, self.work.bytes, self.work.dtype, self.work.threads, None),
            dataclasses.replace(self.terms, inputs=self._inputs(), out=self._out(), counted=self._counted()),
            monitor.conditions(readings),
            tuple(bouts),
            refused,
            tuple(self.notes),
        )

    def _check_results(self) -> None:
        """Before anything is timed. The first call of all is timed apart."""
        problem = self.stage.problem
        for side in self.sides:
            self.on_event("at", f"checking {side.id}")
            self.stage.poison(self.stage.results, everywhere=True)
            try:
                first = seconds_of(side.call)
            except Exception as error:
                raise WrongResult(
                    f"{self.operation.name} {side.id} raised {type(error).__name__} at its first call: {error}"
                ) from error
            self.first_calls.setdefault(side.id, first)
            side.hold(self.stage.problems(side.last, everywhere=True), "at its first call")
            arguments = self.operation.contract.sample(self.workload, self.dtype, np.random.default_rng(0))
            side.hold(
                judge_call(side.implementation, arguments, None, answer=(tuple(problem.exact), tuple(problem.bound))),
                "in a call",
            )

    def _check_results_again(self) -> None:
        """On the arrays that were timed: with the values that they have, and with others."""
        for side in self.sides:
            side.check_all("after it was timed")
        if self.stage.seconds_of_reference > SLOW_REFERENCE:
            self.notes.append(
                "results were not checked with a second set of values, since the exact ones take too long"
            )
            return
        self.on_event("at", "checking with other values")
        usual = self.stage.problem
        self.stage.problem = self.stage.other_values()
        try:
            for side in self.sides:
                side.check_all("with other values in the arrays that were timed: does it remember results?")
        finally:
            self.stage.problem = usual

    def _bout(self, caches: Caches, seconds: float, precision: float, monitor: Monitor, evict: Eviction) -> Bout | None:
        a, b = turns = [side.turn(caches, evict) for side in self.sides]
        if caches == "warm":
            calibrate(turns, WINDOW)
        else:
            for turn in turns:
                if turn.read().elapsed < SHORTEST * clock_step():
                    self.notes.append(f"no cold caches: a single call of {turn.name} is too short for the clock")
                    return None
        names = " against ".join(side.id for side in self.sides)
        try:
            outcome = run_until_certain(
                a,
                b,
                seconds=seconds,
                precision=precision,
                choose_clock=self._clock,
                on_round=lambda done, most: self.on_event("round", (f"{names}, {caches} caches", done, most)),
            )
        except TooSlowError as error:
            raise RefusedError(str(error)) from None
        timings = [turn.timing(self.first_calls[turn.name], caches) for turn in turns]
        for turn, timing in zip(turns, timings, strict=True):
            check_cores(turn.name, turn.readings, self.terms.threads)
            reason = why_impossible(f"{turn.name} ({caches} caches)", self.work, timing.best, self.card)
            if reason:
                raise RefusedError(reason)
        difference = monitor.floor.reach(1.0)
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
        return any(median([reading.waits for reading in side.readings] or [0]) > 0 for side in self.sides)

    def _inputs(self) -> tuple[str, ...]:
        names = inspect.signature(self.operation.contract.run).parameters
        values = zip([name for name in names if name != "kernel"], self.stage.problem.inputs, strict=False)
        arrays = [
            described(name, x) if isinstance(x, np.ndarray) else f"{name} a {type(x).__name__}" for name, x in values
        ]
        return (*arrays, "the same memory for both")

    def _out(self) -> str:
        if self.operation.contract.updates:
            return "in place: inputs are restored before each sample"
        if self.given:
            return "written into memory that both are given, the same for both"
        return "both allocate their own at each call, which counts"

    def _counted(self) -> tuple[str, ...]:
        firsts = ", ".join(f"{k} {duration(s)}" for k, s in self.first_calls.items())
        return (
            "what a call packs, copies or converts is in its time",
            f"first calls are not, with what they compile and load: {firsts}",
        )
