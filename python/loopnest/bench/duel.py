"""Which of two implementations is faster, and by how much? Timed in turn, on the same memory, until it is certain.

>>> import loopnest as ln
>>> from loopnest.bench.duel import duel
>>> print(duel(ln.matmul, "cpp.packed", "cpp.naive").sentence())   # doctest: +SKIP
cpp.packed is 47.1× (46.8–47.5) as fast as cpp.naive

The rounds, their interval and when they end are `timing.turns.run_until_certain`'s. One side is called faster only if
the interval that holds the truth in 99 % of duels leaves 1 out, and if the difference is larger than the noise floor, a
fixed piece of work against itself. Everything else is *unresolved*.

There is one set of inputs and one of results (stage.py). Results are checked before, while and after they are timed,
and again with other values in the same arrays, which catches a kernel that remembers its results. docs/measuring.md
gives the reasons.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..arrays import FLOATS, REDUCED, dtype_called
from ..backends import SIMULATED
from ..backends.user_file import is_file
from ..machine.card import card as kept_card
from ..machine.limits import Work, why_impossible
from ..machine.records import MachineCard
from ..operation import Implementation, Operation, UnavailableError, Workload
from ..operations import operation_of
from ..output.notebook import shows
from ..output.tables import columns, headed
from ..output.text import counted, duration, three_digits
from ..timing.budget import fitting
from ..timing.conditions import Conditions, Monitor
from ..timing.fairness import Terms, check_cores, equal_terms, read_back
from ..timing.interval import Interval
from ..timing.turns import (
    CERTAIN,
    LEGIBLE,
    WINDOW,
    Clock,
    Outcome,
    Timing,
    Turn,
    calibrate,
    run_until_certain,
    seconds_of,
)
from ..verify.problem import WrongResult
from .stage import Stage, rung_from_file

LONG = 25e-3
"""Seconds of a call in the workload that is chosen by default: short enough for a hundred rounds in a few seconds, and
long enough that most of a call is work."""


class RefusedError(RuntimeError):
    """A comparison is not made, or its figures are not shown; the message says why."""


@dataclass(frozen=True)
class Duel:
    """Two implementations, compared: all samples, the terms, and the state of the machine.

    limit    seconds that the machine needs for a call at least
    outcome  how many times as fast a is as b, with its intervals; None where the figures are refused
    timings  of a and of b, with all samples
    refused  why there are no figures: a time was too good to be true, or a result was wrong while it was timed
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
    outcome: Outcome | None = None
    timings: tuple[Timing, ...] = ()
    refused: str = ""
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def faster(self) -> Literal["a", "b"] | None:
        """The faster one; None where it is unresolved."""
        floor = 1 + self.conditions.least_difference
        if self.outcome and self.outcome.certain.low > 1 and self.outcome.ratio.estimate > floor:
            return "a"
        if self.outcome and self.outcome.certain.high < 1 and self.outcome.ratio.estimate < 1 / floor:
            return "b"
        return None

    def sentence(self) -> str:
        """The answer in words; the faster one first."""
        if self.outcome is None:
            return f"refused: {self.refused}"
        a, b, r = self.a, self.b, self.outcome.ratio
        if self.faster == "b":
            a, b, r = b, a, r.over(1)
        of = "itself" if a == b else b
        answer = f"{a} is {_times(r.estimate, r)}× ({_times(r.low, r)}–{_times(r.high, r)}) as fast as {of}"
        if self.faster:
            return answer
        if not r.bounded:
            return f"unresolved: {self.outcome.rounds} rounds are too few for an interval"
        if r.holds(1.0):
            return f"unresolved: {answer}"
        floor = self.conditions.least_difference
        if abs(math.log(r.estimate)) <= math.log1p(floor):
            return f"unresolved: {answer}, within the noise floor of {floor:.1%}"
        return f"unresolved: {answer}, and not yet {CERTAIN:.0%} certain"


def _times(value: float, interval: Interval) -> str:
    """With the digits that the interval's width leaves meaningful; three for a ratio near 1."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 2 and interval.width < 0.01 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def duel(
    operation: str | Operation,
    a: str | Path,
    b: str | Path,
    *,
    workload: str | None = None,
    dtype: Any = np.float32,
    threads: int = 1,
    seconds: float = 4.0,
    precision: float = 0.01,
    card: MachineCard | None = None,
    on_event: Callable[[str, Any], None] = lambda kind, content: None,
) -> Duel:
    """Compare two implementations.

    operation  its name, or the operation
    a, b       ids, such as "cpp.packed" or "numpy"; or files in Python, C or C++, see `stage.rung_from_file`
    workload   its name, or lengths such as "17x4096x33"; by default the largest in which a call of the slower one takes
               at most 25 ms
    dtype      float32 or float64; for matmul "bfloat16", "float16" or "int8" too
    threads    that each may use
    seconds    the longest time of the comparison
    precision  stop early once the interval's half-width is below this fraction of the ratio
    card       the machine's limits; by default the kept machine card, which is measured if there is none yet

    Raises ValueError for arguments that cannot be, and where even the fewest rounds take too long, UnavailableError
    for what cannot run here, WrongResult where a result is not within its contract's bound before anything is timed,
    UnfairError where the terms would not be equal.
    If a result is wrong while it is timed, or a time beats the machine's limit, the Duel's `refused` says so.
    """
    operation = operation_of(operation, "duel")
    dtype = dtype_called(dtype) if dtype in REDUCED else np.dtype(dtype)
    wanted = [*map(str, FLOATS), *operation.contract.reduced]
    if dtype.name not in wanted:
        raise ValueError(f"duel: dtype is {dtype}, expected {' or '.join(wanted)} for {operation.name}")
    named = operation.workload(workload) if workload is not None else None
    for name, value in (("seconds", seconds), ("precision", precision)):
        if value <= 0:
            raise ValueError(f"duel: {name} is {value}, expected more than 0")
    with ExitStack() as stack:
        sides = [_implementation(operation, side, stack, dtype.name) for side in (a, b)]
        terms = stack.enter_context(equal_terms(threads))
        on_event("at", "the machine card, measured at the first time")
        card = card or kept_card()
        on_event("at", "choosing a workload" if workload is None else "the exact result")
        first_calls: dict[str, float] = {}
        chosen = named or _largest(sides, dtype, first_calls)
        stage = Stage(operation, chosen, dtype)
        turns = [stage.turn(side) for side in sides]
        for side in sides:
            on_event("at", f"checking {side.id}")
            first_call = stage.check_before(side)
            first_calls.setdefault(side.id, first_call)
        on_event("at", "the noise floor")
        monitor = Monitor()
        flops = operation.contract.flops(**chosen.shape)
        nbytes = operation.contract.traffic(dtype.itemsize, **chosen.shape)
        outcome, refused = None, ""
        try:
            calibrate(turns, WINDOW)
            outcome = run_until_certain(
                *turns,
                seconds=seconds,
                precision=precision,
                choose_clock=lambda: _clock(turns, threads),
                on_round=lambda rounds, most: on_event("round", (f"{sides[0].id} against {sides[1].id}", rounds, most)),
            )
            for turn in turns:
                check_cores(turn.name, turn.readings, threads)
                reason = why_impossible(turn.name, Work(flops, nbytes, str(dtype), threads), turn.best, card)
                if reason:
                    raise RefusedError(reason)
            stage.check_after(turns)
            read_back(threads)
        except (WrongResult, RefusedError) as reason:
            outcome, refused = None, str(reason)
        return Duel(
            operation=operation.name,
            a=sides[0].id,
            b=sides[1].id,
            workload=chosen.name,
            shape=dict(chosen.shape),
            dtype=str(dtype),
            flops=flops,
            bytes=nbytes,
            limit=card.least_seconds(flops, nbytes, str(dtype), threads),
            terms=terms,
            conditions=monitor.conditions(),
            outcome=outcome,
            timings=tuple(turn.timing(first_calls[turn.name]) for turn in turns) if outcome else (),
            refused=refused,
        )


def _implementation(operation: Operation, side: str | Path, stack: ExitStack, dtype: str) -> Implementation:
    if is_file(side):
        found = stack.enter_context(rung_from_file(operation, side, dtype))
    else:
        found = operation.rung(str(side), dtype)
    reason = found.why_unavailable()
    if reason:
        raise UnavailableError(f"{operation.name}: {found.id} cannot run here: {reason}")
    if dtype not in found.dtypes:
        known = ", ".join(k.id for k in operation.ladder(dtype))
        raise ValueError(f"duel: {found.id} does not take {dtype}; known for it: {known}")
    if found.simulated():
        raise RefusedError(f"{found.id} is {SIMULATED}")
    if found.backend == "torch":
        importlib.import_module("torch")  # before its threads are set
    return found


def _largest(sides: Sequence[Implementation], dtype: np.dtype[Any], first_calls: dict[str, float]) -> Workload:
    """The largest workload in which a call of the slower side takes LONG at most; notes the first calls."""
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


def _clock(turns: Sequence[Turn], threads: int) -> Clock:
    """The processor's time for one thread that never waits: the time that other processes take is not in it. The time
    that passes for several threads, for samples that are short compared with reading the processor's clock, and for
    work that waits for something, such as another process or a device."""
    short = any(median(reading.elapsed for reading in turn.readings) < LEGIBLE for turn in turns)
    waits = any(median(reading.waits for reading in turn.readings) > 0 for turn in turns)
    return "elapsed" if threads > 1 or short or waits else "processor"


# --- what is printed

CLOCKS = {
    "processor": "processor time: one thread that never waits, so the time that other processes take is not in it",
    "elapsed": "the time that passed",
}


@shows(Duel)
def report(duel: Duel) -> Iterator[RenderableType]:
    """What `loopnest duel` prints, one renderable after another: the answer, the times, the terms, the conditions."""
    threads = counted(duel.terms.threads, "thread")
    yield Text(f"{duel.operation}, {duel.workload}, {duel.dtype}, {threads}\n", style="bold")
    yield Text(f"{duel.sentence()}\n", style="bold" if duel.outcome else "red")
    firsts = ", ".join(f"{timing.name} {duration(timing.first_call)}" for timing in duel.timings)
    rows = [
        ("threads", f"{duel.terms.threads} each, read back: {', '.join(map(str, duel.terms.pools))}"),
        ("precision", duel.terms.precision),
        ("inputs", "in C order, the same memory for both; restored before each sample if they are updated in place"),
        ("results", "written into memory that both are given, the same for both"),
        ("counted", f"what a call packs, copies or converts; not the first calls, which compile and load: {firsts}"),
        ("machine", duel.conditions.sentence()),
    ]
    if duel.outcome:
        yield _times_of(duel)
        why = "the interval was narrow enough" if duel.outcome.ended == "narrow" else "the time was up"
        rows.append(("clock", f"{CLOCKS[duel.timings[0].clock]}; {duel.outcome.rounds} rounds, until {why}"))
    yield Text("\nfairness and conditions", style="bold")
    yield columns(*rows)
    for warning in (*duel.terms.warnings, *duel.conditions.load.warnings()):
        yield Text(f"\nwarning: {warning}", style="yellow")


def _times_of(duel: Duel) -> Table:
    """Best and median of each side; the rate by the best, and how much of the machine's limit that is."""
    unit, amount = ("GFLOP/s", duel.flops) if duel.flops >= 2 * duel.bytes else ("GB/s", duel.bytes)
    table = headed("", "best", "median", unit, "of limit", "samples")
    for timing in duel.timings:
        rate, samples = three_digits(amount / timing.best / 1e9), f"{len(timing.seconds)} × {timing.calls}"
        times = duration(timing.best), duration(timing.median)
        table.add_row(*map(Text, (timing.name, *times, rate, f"{duel.limit / timing.best:.0%}", samples)))
    return table
