"""How fast is it? Rounds in which the submission and the rungs that it lies between have a call each in turn.

Rungs run in a process of the same kind, under the same protocol: fresh values before every call, the process stopped
before and after it, the judge's clock, less the time for which other processes had the processor (`Answer.counted`).
The values are those of a prepared problem, rearranged: rows and columns of a product change places, elements move on.
So each call has inputs that no call before had, and its result is known all the same. Every timed result is checked: a
product by a random projection (Freivalds, *Probabilistic machines can use less running time*, IFIP 1977), others at
elements drawn anew; and some, which the submission cannot foresee, everywhere.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import math
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..backends.threads import processors
from ..machine.card import card
from ..machine.plausible import Work, limit_of, why_impossible
from ..machine.records import MachineCard
from ..operation import Implementation, Operation, Workload
from ..output.text import duration
from ..timing.budget import work_of
from ..timing.interval import Interval, median_interval, ratio
from .records import Pace, Raced, Step
from .session import Answer
from .session import Limits as ProcessLimits
from .subject import Run, Subject, Trial, fresh, trial_of

if TYPE_CHECKING:
    from .judge import _Trial

LONG = 25e-3
"""Seconds of a call at most in the largest workload, where there is time for it."""

CALLS = 40
"""Calls that a contender should have of the seconds that there are, about: with fewer, workloads are smaller."""

ILLEGIBLE = 3
"""Times the round trip that a call has to take, for its work's time to be read from it."""

LEGIBLE = 0.5e-3
"""Seconds that it has to take, too: what a call in Python costs beside its work is nothing of that."""

FAR = 30
"""The ratio of times from which on it needs no measuring who is faster."""

WITNESSES = 512

FEW = 1 << 18
"""Elements up to which they are permuted. To move them on is quicker, but of few, two calls might get the same."""

EVERYWHERE = 5
"""Of so many timed calls in a row, the result of one is looked at everywhere; which of them, a draw decides."""

FEWEST_ROUNDS = 4

MOST = 1 << 26
"""Bytes of the arrays of the largest workload; a quarter where there is little time."""


class NotRaced(Exception):
    """Why it was not timed."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A problem whose values can be rearranged, with the exact result of each arrangement at hand."""

    operation: Operation
    trial: Trial

    @functools.cached_property
    def how(self) -> How:
        name, usual = self.operation.name, self.operation.contract.fast_path
        if name in REARRANGED:
            return REARRANGED[name]
        return "roll" if usual is not None and usual.shapes == "elementwise" else "new"

    def rearranged(self, rng: np.random.Generator) -> tuple[Trial, Arrangement]:
        """The same problem with values in other places; its `exact` and `bound` are only of the right shape, unless
        `Arrangement.whole` makes them right."""
        trial, how = self.trial, self.how
        if how == "product":
            a, b, *rest = trial.views
            rows, columns = rng.permutation(a.shape[0]), rng.permutation(b.shape[1])
            views = (a[rows], np.ascontiguousarray(b[:, columns]), *(x[columns] for x in rest))
            arrangement = Arrangement(rows, columns)
        elif how in ("rows", "transposed"):
            (x,) = trial.views
            rows, columns = rng.permutation(x.shape[0]), rng.permutation(x.shape[1])
            views = (np.ascontiguousarray(x[rows][:, columns]),)
            arrangement = Arrangement(rows, columns) if how == "rows" else Arrangement(columns, rows)
        elif how == "roll" and trial.views[0].size <= FEW:
            order = rng.permutation(trial.views[0].size)
            views = tuple(x.reshape(-1)[order].reshape(x.shape) for x in trial.views)
            arrangement = Arrangement(order=order)
        elif how == "roll":
            shift = int(rng.integers(1, max(2, trial.views[0].size)))
            views = tuple(np.roll(x, shift) for x in trial.views)
            arrangement = Arrangement(shift=shift)
        elif how in ("scale", "scale squared"):
            shift = int(rng.integers(1, max(2, trial.views[0].size)))
            factor = 2.0 ** int(rng.integers(-20, 21))
            others = 1.0 if how == "scale" else factor
            factors = [factor, *[others] * (len(trial.views) - 1)]
            views = tuple(np.roll(x, shift) * x.dtype.type(f) for x, f in zip(trial.views, factors, strict=True))
            arrangement = Arrangement(factor=factor if how == "scale" else factor**2)
        else:
            arguments = self.operation.contract.sample(trial.workload, trial.dtype, rng)
            facts: Any = {"text": str(trial), "kind": "timed"}
            return trial_of(self.operation, arguments, trial.workload, trial.dtype, **facts), Arrangement()
        memory = tuple(x.reshape(-1).view(np.uint8) for x in views)
        changed = dataclasses.replace(trial, views=views, memory=memory, at_end=bool(rng.integers(2)), kind="timed")
        return changed, arrangement


How = Literal["product", "rows", "transposed", "roll", "scale", "scale squared", "new"]

REARRANGED: Mapping[str, How] = {
    **dict.fromkeys(("matmul", "linear"), "product"),
    "softmax": "rows",
    "transpose": "transposed",
    **dict.fromkeys(("dot", "sum"), "scale"),
    "mse": "scale squared",
    **dict.fromkeys(("mse_backward", "sgd", "momentum", "rmsprop", "adam"), "roll"),
}
"""How values get other places, by operation: rows and columns are permuted; elements move on; one input, or all, is
multiplied by a power of two, which rounds nothing, so that a single sum is another one. "new": the problem is made
anew."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where the values of a prepared problem's results went, and by what they were multiplied."""

    rows: np.ndarray[Any, Any] | None = None
    columns: np.ndarray[Any, Any] | None = None
    order: np.ndarray[Any, Any] | None = None
    shift: int | None = None
    factor: float = 1.0

    def sources(self, picks: np.ndarray[Any, Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """Where the elements of these numbers came from, in a result of this shape."""
        if self.order is not None:
            return np.asarray(self.order[picks])
        if self.rows is None or self.columns is None:
            return np.asarray((picks - (self.shift or 0)) % math.prod(shape))
        return np.asarray(self.rows[picks // shape[1]] * shape[1] + self.columns[picks % shape[1]])

    def whole(self, trial: Trial) -> Trial:
        """The trial with its exact results and bounds, rearranged likewise."""

        def moved(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            if self.rows is not None:
                return np.ascontiguousarray(x[self.rows][:, self.columns])
            if self.order is not None:
                return np.asarray(x.reshape(-1)[self.order].reshape(x.shape))
            if self.shift is not None:
                return np.roll(x, self.shift)
            return np.asarray(x * self.factor)

        return dataclasses.replace(trial, exact=tuple(map(moved, trial.exact)), bound=tuple(map(moved, trial.bound)))


@functools.lru_cache(maxsize=6)
def prepared(operation: Operation, workload: str, dtype: np.dtype[Any]) -> Prepared:
    """Made once in a process: the exact result of a large workload takes longer than a check."""
    found = next(w for w in operation.contract.workloads if w.name == workload)
    arguments = operation.contract.sample(found, dtype, fresh())
    return Prepared(operation, trial_of(operation, arguments, found, dtype, text=f"{dtype}, {workload}", kind="timed"))


def near_by_projection(subject: Subject, base: Trial, arrangement: Arrangement, result: Any) -> bool:
    """Freivalds: c v = a (b v) for a random v of 1 and -1, within what independent errors like the bounds add up to.

    Rounding errors stay far below; what does not is looked at everywhere before anything is said.
    """
    assert arrangement.rows is not None
    assert arrangement.columns is not None
    signs = np.where(np.random.default_rng().integers(0, 2, result.shape[1]), 1.0, -1.0)
    placed = np.empty_like(signs)
    placed[arrangement.columns] = signs
    exact = (np.asarray(base.exact[0], np.float64) @ placed)[arrangement.rows]
    allowed = np.sqrt(np.square(np.asarray(subject.bound(base)[0], np.float64)).sum(axis=1))[arrangement.rows]
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(result, np.float64) @ signs - exact)
        return bool((error <= allowed * (1 + 1e-6)).all())


@dataclass
class Contender:
    """Who runs in the rounds."""

    name: str
    subject: Subject
    seconds: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    _calls: int = 0
    _drawn: int = 0

    def _turn(self, rng: np.random.Generator) -> bool:
        """Whether this call is the one of its EVERYWHERE calls whose result is looked at everywhere."""
        if self._calls % EVERYWHERE == 0:
            self._drawn = self._calls + int(rng.integers(EVERYWHERE))
        self._calls += 1
        return self._calls - 1 == self._drawn

    def call(self, problem: Prepared, rng: np.random.Generator, *, keep: bool = True) -> float:
        """One call with fresh values, checked. Raises WrongWhileTimed."""
        trial, arrangement = problem.rearranged(rng)
        subject = self.subject
        subject.rung = self.name if subject.rung else ""
        answer = subject.take(trial, f"{trial} while it was timed")
        if answer.problem is None:
            self._check(problem, trial, arrangement, rng, answer)
        else:
            self._wrong(Run(trial, answer))
        if keep:
            self.seconds.append(answer.counted)
            self.elapsed.append(answer.seconds)
            self.processor.append(answer.processor)
        return answer.counted

    def _check(
        self, problem: Prepared, trial: Trial, arrangement: Arrangement, rng: np.random.Generator, answer: Answer
    ) -> None:
        subject = self.subject
        results = subject.results(trial)
        everywhere = not subject.rung and self._turn(rng)
        if not everywhere and problem.how == "product":
            if near_by_projection(subject, problem.trial, arrangement, results[0]):
                return
        elif not everywhere and problem.how in ("roll", "rows", "transposed") and results[0].size:
            picks = rng.integers(0, results[0].size, WITNESSES)
            sources = arrangement.sources(picks, results[0].shape)
            if all(
                _within(r.reshape(-1)[picks], e.reshape(-1)[sources], b.reshape(-1)[sources])
                for r, e, b in zip(results, trial.exact, subject.bound(trial), strict=True)
            ):
                return
        whole = arrangement.whole(trial)
        run = subject.judged(whole, answer)
        if not run.right:
            self._wrong(run)

    def _wrong(self, run: Run) -> None:
        if self.subject.rung:
            told = run.problems[0] if run.problems else (run.answer.problem or {}).get("text", "")
            raise NotRaced(f"the rung {self.name} failed: {told}")
        raise WrongWhileTimed(run)


def _session(subject: Subject) -> Any:
    assert subject.session is not None
    return subject.session


def _within(result: Any, exact: Any, bound: Any) -> bool:
    with np.errstate(all="ignore"):
        wide = np.asarray(result, exact.dtype)
        return bool(np.all((np.abs(wide - exact) <= bound) | (wide == exact) | (np.isnan(wide) & np.isnan(exact))))


class WrongWhileTimed(Exception):
    """A timed result is wrong."""

    def __init__(self, run: Run) -> None:
        super().__init__(str(run.trial))
        self.run = run


# --- the ladder


_ladders: dict[tuple[str, int, int], Subject] = {}
_estimates: dict[tuple[str, str, str, int], dict[str, float]] = {}


def ladder_of(operation: Operation, threads: int) -> Subject:
    """The process in which rungs of the operation run; kept for the next check."""
    key = operation.name, threads, os.getpid()
    kept = _ladders.get(key)
    if kept is None or kept.session is None or kept.session.closed:
        limits = ProcessLimits(call=60.0, memory=8 << 30)
        kept = _ladders[key] = Subject(operation, Path("the ladder"), "python", limits, math.inf, threads)
    return kept


@atexit.register
def close_ladders() -> None:
    """End the processes in which rungs ran."""
    for (_, _, pid), ladder in _ladders.items():
        if pid == os.getpid():
            ladder.close()
    _ladders.clear()


def loaded(ladder: Subject, rung: str) -> Contender:
    """A rung in the ladder's process."""
    ladder.rung = rung
    if ladder.session is None or ladder.session.closed:
        ladder.start()
        ladder.__dict__["_rungs"] = {rung}
    known: set[str] = ladder.__dict__.setdefault("_rungs", set())
    if rung not in known:
        session = _session(ladder)
        told = session.ask(
            {
                "do": "load",
                "kind": "rung",
                "name": ladder.operation.name,
                "rung": rung,
                "file": "",
                "threads": ladder.threads,
            }
        )
        if "problem" in told:
            raise NotRaced(f"{rung} cannot be loaded: {told['problem']['text']}")
        known.add(rung)
    return Contender(rung, ladder)


def candidates(operation: Operation, uses: Sequence[str], against: str | None) -> list[Implementation]:
    """The rungs that a submission is placed between: those that load quickly, and those of libraries that it has
    loaded itself."""
    backends = ["python", "numpy", "cpp", *(name for name in ("numba", "torch") if name in uses)]
    found = [k for k in operation.ladder() if k.backend in backends and not k.study and k.available()]
    found = [k for k in found if not k.slow_start]
    if against is not None:
        wanted = operation[against]
        reason = wanted.why_unavailable()
        if reason:
            raise NotRaced(f"{wanted.id} cannot run here: {reason}")
        found += [wanted] if wanted.id not in [k.id for k in found] else []
    return found


def estimates(
    operation: Operation,
    rungs: Sequence[Implementation],
    workload: Workload,
    dtype: np.dtype[Any],
    threads: int,
    mine: float,
) -> dict[str, float]:
    """Seconds of a call of each rung, about: measured with a few calls; or foretold from a smaller workload, where that
    is far from the submission's `mine`."""
    contract = operation.contract
    climb = sorted(contract.workloads, key=lambda w: work_of(contract, w))
    climb = [w for w in climb if work_of(contract, w) < work_of(contract, workload)][:2]
    kept = _estimates.setdefault((operation.name, workload.name, str(dtype), threads), {})
    ladder, rng = ladder_of(operation, threads), fresh()
    for k in rungs:
        if k.id in kept:
            continue
        contender = loaded(ladder, k.id)
        trip = min(_session(ladder).round_trip() for _ in range(2))
        for smaller in climb:
            problem = prepared(operation, smaller.name, dtype)
            best = min(contender.call(problem, rng, keep=False) for _ in range(2))
            foretold = (best - trip) * work_of(contract, workload) / work_of(contract, smaller)
            if best > ILLEGIBLE * trip and not mine / FAR < foretold < mine * FAR:
                kept[k.id] = foretold
                break
        else:
            problem = prepared(operation, workload.name, dtype)
            kept[k.id] = min(contender.call(problem, rng, keep=False) for _ in range(3))
    return {k.id: kept[k.id] for k in rungs}


# --- the race


def race(trial: _Trial) -> Pace:
    """Time the submission beside the ladder. Raises Refusal for what is wrong or impossible while it is timed."""
    subject, operation, dtype = trial.subject, trial.operation, trial.dtypes[0]
    if subject.session is None or subject.session.closed:
        subject.start()
    card = trial.card or machine_card(trial.notes)
    me = Contender("it", subject)
    _session(subject).ask({"do": "time"})
    try:
        chosen = [trial.workload] if trial.workload else fitting(me, operation, dtype, trial.seconds)
        trips = [_session(subject).round_trip() for _ in range(15)]
        races: list[Raced] = []
        outcome: tuple[str | None, str | None, str | None] = (None, None, None)
        found: Interval | None = None
        for workload in chosen:
            share = trial.seconds / len(chosen)
            contenders, places = around(me, operation, workload, dtype, trial, share)
            run_rounds(contenders, prepared(operation, workload.name, dtype), share)
            raced = [_raced(c, operation, workload, dtype, card) for c in contenders]
            races += raced
            _believe(trial, raced[0], operation, workload, dtype, card)
            outcome = placed(contenders, places)
            against = operation[trial.against].id if trial.against else None
            rival = next((c for c in contenders[1:] if c.name == against), None)
            found = ratio(me.seconds, rival.seconds) if rival else None
            if found and not (found.low and math.isfinite(found.high)):
                found = None  # of too few rounds there is no interval
    except WrongWhileTimed as error:
        raise trial.refusal_of_run(error.run) from None
    trial.notes += habits(me, subject.threads)
    below, above, same = outcome
    mine = [r for r in races if r.name == "it"][-1]
    pace = Pace(
        str(dtype),
        subject.threads,
        tuple(races),
        below,
        above,
        same,
        operation[trial.against].id if trial.against else None,
        found,
        float(np.median(trips)),
    )
    return dataclasses.replace(pace, sentence=sentence_of(pace, mine, trial))


def habits(me: Contender, threads: int) -> list[str]:
    """What its processor time says of its calls: that it waits, or keeps more processors busy than it was given."""
    if float(np.median(me.seconds)) < LEGIBLE:
        return []
    busy = float(np.median(np.asarray(me.processor) / np.asarray(me.seconds)))
    if busy < 0.5:
        return [f"it waits: its calls kept a processor busy for {busy:.0%} of their time"]
    if busy > threads + 0.3:
        return [
            f"it kept {busy:.1f} processors busy, and rungs had {threads} thread{'s' if threads > 1 else ''}: --threads"
        ]
    return []


def fitting(me: Contender, operation: Operation, dtype: np.dtype[Any], seconds: float) -> list[Workload]:
    """The workloads to race on: the largest whose calls leave time for some dozens of them, and a smaller one."""
    contract = operation.contract
    longest = min(LONG, seconds / CALLS)
    rng = fresh()
    found: list[Workload] = []
    legible: list[Workload] = []
    most = MOST if seconds >= 2 else MOST // 4
    rate, density, trip = 0.0, 0.0, min(_session(me.subject).round_trip() for _ in range(5))
    for workload in sorted(contract.workloads, key=lambda w: work_of(contract, w)):
        work = work_of(contract, workload)
        dense = contract.flops(**workload.shape) / contract.traffic(dtype.itemsize, **workload.shape)
        if dense < 0.9 * density:
            continue
        foretold = rate and work / rate > longest
        if found and (foretold or contract.traffic(dtype.itemsize, **workload.shape) > most):
            break
        problem = prepared(operation, workload.name, dtype)
        start = time.process_time()
        times = [me.call(problem, rng, keep=False)]
        while len(times) < 2 or (len(times) < 6 and min(times) < longest):  # the first calls touch new memory
            times.append(me.call(problem, rng, keep=False))
        best, calls = min(times), len(times)
        whole = best + (time.process_time() - start) / calls  # with its values, and the look at its result
        if found and (best > 2 * longest or whole > max(LONG, seconds / 10)):
            break
        found.append(workload)
        if best > ILLEGIBLE * trip:
            legible.append(workload)
        rate, density = work / (best - trip) if best > max(ILLEGIBLE * trip, LEGIBLE) else 0.0, dense
    smaller = [w for w in legible if w is not found[-1]][-2:][:1] if seconds >= 2 else []
    return [*smaller, found[-1]]


def around(
    me: Contender, operation: Operation, workload: Workload, dtype: np.dtype[Any], trial: _Trial, seconds: float
) -> tuple[list[Contender], list[tuple[str, float]]]:
    """The submission and its neighbours on the ladder, by estimate; and all estimates from slow to fast."""
    me.seconds.clear()
    me.elapsed.clear()
    me.processor.clear()
    rng, problem = fresh(), prepared(operation, workload.name, dtype)
    mine = min(me.call(problem, rng, keep=False) for _ in range(3))
    rungs = candidates(operation, trial.subject.uses, trial.against)
    known = estimates(operation, rungs, workload, dtype, trial.subject.threads, mine)
    places = sorted(known.items(), key=lambda item: -item[1])
    slower = [name for name, s in places if s >= mine][-1:]
    faster = [name for name, s in places if s < mine][:1]
    against = [operation[trial.against].id] if trial.against else []
    names = list(dict.fromkeys([*slower, *faster, *against]))
    affordable = [n for n in names if known[n] * 2 * FEWEST_ROUNDS <= max(seconds, 1.0)]
    ladder = ladder_of(operation, trial.subject.threads)
    return [me, *(loaded(ladder, name) for name in affordable)], places


def run_rounds(contenders: Sequence[Contender], problem: Prepared, seconds: float) -> None:
    """Rounds of two calls of each, in an order that is drawn for each round anew, and back again."""
    coin, rng = random.Random(), fresh()
    for contender in contenders:
        contender.call(problem, rng, keep=False)
    end, rounds = time.perf_counter() + seconds, 0
    order = list(contenders)
    latest = end + seconds + 0.5
    while time.perf_counter() < (latest if rounds < FEWEST_ROUNDS else end) or rounds < 2:
        coin.shuffle(order)
        for contender in (*order, *reversed(order)):
            contender.call(problem, rng)
        rounds += 1


def _raced(c: Contender, operation: Operation, workload: Workload, dtype: np.dtype[Any], card: MachineCard) -> Raced:
    contract = operation.contract
    flops, nbytes = contract.flops(**workload.shape), contract.traffic(dtype.itemsize, **workload.shape)
    busy = float(np.median(np.asarray(c.processor) / np.asarray(c.seconds))) if c.seconds else 1.0
    limit, bound, share = 0.0, "", None
    if isinstance(card, MachineCard):
        found = limit_of(card, flops, nbytes, str(dtype), busy)
        limit, bound = found.seconds, found.by if found.by == "flops" else found.level
        median = median_interval(c.seconds)
        share = median.over(limit) if median.bounded else None
    return Raced(
        c.name,
        workload.name,
        dict(workload.shape),
        tuple(c.seconds),
        tuple(c.elapsed),
        tuple(c.processor),
        limit,
        bound,
        share,
    )


def _believe(
    trial: _Trial, mine: Raced, operation: Operation, workload: Workload, dtype: np.dtype[Any], card: MachineCard
) -> None:
    """Refuse a time that is below what the machine's limits allow with all of its processors."""
    from .judge import Refusal

    contract = operation.contract
    work = Work(
        contract.flops(**workload.shape),
        contract.traffic(dtype.itemsize, **workload.shape),
        str(dtype),
        processors(),
    )
    reason = why_impossible(trial.subject.file.name, work, mine.best, card)
    if reason:
        raise Refusal("impossible", reason, "impossible-time", (f"on {workload.name}: {duration(mine.best)}",))


def placed(
    contenders: Sequence[Contender], places: Sequence[tuple[str, float]]
) -> tuple[str | None, str | None, str | None]:
    """The rungs below and above the submission, and one that it cannot be told from."""
    me = contenders[0]
    known = dict(places)
    mine = float(np.median(me.seconds))
    same = None
    for rival in contenders[1:]:
        found = ratio(me.seconds, rival.seconds)
        known[rival.name] = mine * found.estimate
        if found.low < 1 < found.high and abs(found.estimate - 1) < 0.05:
            same = rival.name
    ordered = sorted(known.items(), key=lambda item: -item[1])
    slower = [name for name, s in ordered if s >= mine and name != same]
    faster = [name for name, s in ordered if s < mine and name != same]
    return (slower[-1] if slower else None), (faster[0] if faster else None), same


def sentence_of(pace: Pace, mine: Raced, trial: _Trial) -> str:
    """`between cpp.blocked and cpp.packed: 61 ± 2 % of the limit, bound by loads`."""
    if pace.same_as:
        where = f"as fast as {pace.same_as}"
    elif pace.below and pace.above:
        where = f"between {pace.below} and {pace.above}"
    elif pace.above:
        where = f"slower than {pace.above}, the slowest rung that it was compared with"
    elif pace.below:
        where = f"faster than {pace.below}, the fastest rung that it was compared with"
    else:
        where = "right"
    parts = [where]
    if mine.share is not None:
        parts = [f"{where}: {per_cent(mine.share)} of the limit"]
    bound = hot_loop(trial)
    if bound is not None:
        parts.append(f"bound by {bound[0]}")
    elif mine.share is not None and mine.share.estimate > 0.5:
        parts.append("bound by arithmetic" if mine.bound == "flops" else f"bound by {mine.bound}'s bandwidth")
    return ", ".join(parts)


def per_cent(share: Interval) -> str:
    """With as many digits as the interval leaves a meaning.

    >>> per_cent(Interval(0.612, 0.59, 0.63)), per_cent(Interval(0.00012, 0.00011, 0.00013))
    ('61 ± 2 %', '0.012 ± 0.001 %')
    """
    value, half = 100 * share.estimate, 100 * share.reach(share.estimate)
    digits = 0 if value >= 10 and half >= 0.5 else min(6, max(0, -math.floor(math.log10(max(half, 1e-9)))))
    return f"{value:.{digits}f} ± {half:.{digits}f} %"


def hot_loop(trial: _Trial) -> tuple[str, str] | None:
    """What bounds the compiled submission's hot loop, and a sentence about it, where the machine code can be read."""
    library = trial.subject.library
    if library is None:
        return None
    try:
        from ..inspect import diagnose  # type: ignore[import-not-found,unused-ignore]

        loop = diagnose(library.file, trial.subject.symbol or trial.operation.name)
    except Exception:  # no capstone, another format: the rest of the verdict stands without it
        return None
    return (loop.bound.name, loop.bound.sentence) if loop is not None and loop.bound is not None else None


def next_steps(trial: _Trial) -> tuple[Step, ...]:
    """What to try: the lesson of the next rung up, and what the hot loop waits for."""
    pace, operation = trial.pace, trial.operation
    assert pace is not None
    steps = []
    if pace.above:
        k = operation[pace.above]
        steps.append(Step(f"{k.id}: {k.headline}", f"loopnest show {operation.name} {k.id}"))
    elif pace.below:
        steps.append(
            Step("it is at the top of the ladder", f"loopnest duel {operation.name} {pace.below} {trial.subject.file}")
        )
    found = hot_loop(trial)
    if found:
        steps.append(Step(f"its hot loop: {found[1]}"))
    return tuple(steps)


# --- the machine's limits


def machine_card(notes: list[str]) -> MachineCard:
    """The kept machine card; where there is none, the rough limits of a quick probe, with a note."""
    here = card(quick=True)
    if not here.measured:
        notes.append("the machine's limits are those of a quick probe: `loopnest machine` measures them well")
    return here
