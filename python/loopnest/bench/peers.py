"""loopnest next to NumPy, torch and JAX, and next to the machine's limits: `loopnest bench peers`.

benchmarks/bench_peers.py says what the libraries are asked to do. Here are the bars that loopnest is to reach, the
process that measures a part of them, and the tables. docs/performance.md explains the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import itertools
import json
import os
import re
import time
import timeit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from rich.console import RenderableType

from ..backends.threads import num_threads, processors
from ..machine.limits import Piece
from ..operation import UnavailableError
from ..output.tables import Sheet
from ..output.text import three_digits
from ..timing.environment import SLOWING, Environment, environment
from ..timing.turns import Clock, Turn, calibrate, clocked, run_rounds
from ..verify.problem import WrongResult
from .choices import groups
from .records import Failure
from .reporting import Collector, OnEvent, ignore
from .suites import suites_folder
from .tables import about, ratio_text, shown, verdict

OURS, PEERS = "loopnest", ("NumPy", "torch", "JAX")
LIMITS = FMA, READ, COPY = "FMA loop", "read", "copy"
ONE_THREAD = "one thread"

TITLES = {
    "matmul-square": "square matmul",
    "matmul-tiny": "tiny matmul from Python",
    "matmul-transformer": "transformer matmul",
    "matmul-odd": "odd matmul",
    "threads": "two threads",
    "isa-v3": "ISA level v3 (AVX2)",
    "gelu": "GELU",
    "mlp": "MLP 512 x 768 x 3072",
    "torch-mlp": "loopnest.torch.MLP and nn.Sequential",
    "torch-mlp-threads": "the same on two threads",
    "torch-calls": "calls of the MLP, 1 x 8 x 8",
    "operations": "every operation that NumPy or torch has",
}
"""The parts of a run, in order. Each has a process of its own, pinned to as many processors as it has threads."""

THREADS = {"threads": 2, "torch-mlp-threads": 2}
"""The threads of a part's process; one where it is not here."""

AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}
"""What holds the peers to the instructions of ISA level v3, in the process of that part alone."""

GAIN = 1.05
"""The least ratio that is a gain."""

# --- the bars


@dataclass(frozen=True)
class Item:
    """One piece of work, done by all contenders in the same rounds.

    part, name  such as `matmul-square` and `float32, n = 512`
    tags        bars choose it by these
    amount      of the work in one call: flops for the unit "GFLOP/s", bytes for "GB/s", elements for "ns/element"
    costs       by contender: seconds of its fastest call; by limit of the machine: seconds in which its loop, timed in
                the same rounds, does as much work
    notes       by contender: what a reader should know about its figure
    """

    part: str
    name: str
    unit: str
    amount: float
    tags: tuple[str, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, against: str) -> float | None:
        """How many times as fast as a contender, the "best peer" or a limit we are; None where a time is missing."""
        peers = [self.costs[name] for name in PEERS if name in self.costs]
        theirs = min(peers, default=None) if against == "best peer" else self.costs.get(against)
        return None if theirs is None or OURS not in self.costs else theirs / self.costs[OURS]


@dataclass(frozen=True)
class Bar:
    """The least ratio for each item of `part` that has all of these tags."""

    part: str
    tags: tuple[str, ...]
    against: str
    least: float


BARS = (
    Bar("matmul-square", (), FMA, 0.92),
    Bar("matmul-square", (), "best peer", 1.00),
    Bar("matmul-tiny", (), "best peer", 1.00),
    Bar("matmul-transformer", (), "best peer", 0.97),
    Bar("matmul-transformer", ("m = 1",), READ, 0.95),
    Bar("matmul-odd", (), "best peer", 0.97),
    Bar("threads", (), ONE_THREAD, 1.85),
    Bar("threads", (), "best peer", 1.00),
    Bar("isa-v3", (), FMA, 0.90),
    Bar("isa-v3", (), "best peer", 1.00),
    Bar("gelu", (), "best peer", 1.00),
    Bar("gelu", ("tanh form",), "torch", 5.0),
    Bar("gelu", ("into out",), COPY, 0.9),
    *(
        Bar("mlp", (passes,), against, least)
        for passes in ("forward", "forward and backward")
        for against, least in (("best peer", 1.0), (FMA, 0.92))
    ),
    *(Bar(part, (), "torch", 1.0) for part in ("torch-mlp", "torch-mlp-threads")),
)


def judge(bar: Bar, items: Iterable[Item]) -> tuple[float | None, str]:
    """The lowest ratio, which decides about a bar, None where nothing was measured; and the item that has it."""
    ratios = {
        item.name: ratio
        for item in items
        if item.part == bar.part and set(bar.tags) <= set(item.tags) and (ratio := item.ratio(bar.against)) is not None
    }
    if not ratios:
        return None, ""
    worst = min(ratios, key=lambda name: ratios[name])
    return ratios[worst], worst if len(ratios) > 1 else ""


# --- the process that measures one part


def arrays(results: Any) -> list[Any]:
    several = results if isinstance(results, list | tuple) else (results,)
    return [np.asarray(x.detach() if hasattr(x, "detach") else x) for x in several]


@dataclass(frozen=True)
class Form:
    """One way to ask a contender for the work: a line of Python as its user would write it, with the names in it.

    results  makes NumPy arrays of what the line returns
    prepare  is called before every sample, outside of the time
    """

    contender: str
    code: str
    names: Mapping[str, Any]
    results: Callable[[Any], list[Any]] = arrays
    prepare: Callable[[], object] | None = None

    def run(self) -> list[Any]:
        if self.prepare:
            self.prepare()
        return self.results(eval(self.code, dict(self.names)))

    def turn(self, clock: Clock) -> Turn:
        loop = timeit.Timer(self.code, globals=dict(self.names)).timeit

        def prepare() -> None:
            if self.prepare:
                self.prepare()
                loop(1)  # threads start outside of the time

        return Turn(self.contender, prepare=prepare, sample=clocked(loop), clock=clock)


@dataclass(frozen=True)
class Work:
    """What the contenders are asked to do.

    item      to be filled with the times
    forms     all ways of all contenders; the fastest of each counts
    problems  says what is wrong with a form's results
    limits    by name: how much of the limit's work is in a call, and the loops that do it
    """

    item: Item
    forms: Sequence[Form]
    problems: Callable[[Sequence[Any]], list[str]]
    limits: Mapping[str, tuple[float, Sequence[Piece]]] = field(default_factory=dict)


def measure(work: Work, clock: Clock, quick: bool) -> Item:
    """Check every form's results, then time all forms and limits in turn. Raises WrongResult where ours are wrong.

    The rounds end when every turn has reached its best time twice, within 1 %, or after 5 seconds.
    """
    notes = dict(work.item.notes)
    for form in work.forms:
        problems = work.problems(form.run()) if form.contender in (OURS, *PEERS) else []
        if problems and form.contender == OURS:
            raise WrongResult(problems[0])
        if problems:
            notes[form.contender] = f"not within the bound: {problems[0]}"
    turns = [form.turn(clock) for form in work.forms]
    loops = {
        name: [Turn(name, piece.run, clock=clock) for piece in pieces] for name, (_, pieces) in work.limits.items()
    }
    everybody = [*turns, *(turn for ways in loops.values() for turn in ways)]
    calibrate(everybody, longest=20e-3)
    least, seconds, patience = (1, 0.1, 0.5) if quick else (3, 1.0, 5.0)
    start = time.perf_counter()

    def settled(rounds: int) -> bool:
        enough = rounds >= least and time.perf_counter() - start >= seconds
        return enough and all(sorted(turn.samples)[1] <= 1.01 * turn.best for turn in everybody)

    run_rounds(everybody, seconds=patience, least=least, until=settled)
    costs = {form.contender: min(t.best for t in turns if t.name == form.contender) for form in work.forms}
    for name, (amount, pieces) in work.limits.items():
        costs[name] = min(turn.best * amount / p.amount for p, turn in zip(pieces, loops[name], strict=True))
    return dataclasses.replace(work.item, costs=costs, notes=notes)


def main(parts: Mapping[str, Callable[[bool], Iterable[Work]]]) -> None:
    """Measure the part that the command line names. A part loads the libraries that it needs."""
    parser = argparse.ArgumentParser(description="One part of `loopnest bench peers`, as lines of JSON.")
    parser.add_argument("part", choices=parts)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--events", type=int, default=1, metavar="FD", help="the descriptor to write to")
    asked = parser.parse_args()
    measure_all(asked.part, functools.partial(parts[asked.part], asked.quick), asked.quick, asked.events)


def measure_all(part: str, works: Callable[[], Iterable[Work]], quick: bool, events: int) -> None:
    """Measure all works, and write what comes of each to this descriptor as a line of JSON.

    The process binds itself to as many processors as it has threads before torch and JAX are loaded: a library that
    starts more threads all the same, as XLA does, shares them. One thread is timed by its processor time.
    """
    with os.fdopen(events, "w", encoding="utf-8") as stream:

        def tell(event: str, content: Any) -> None:
            stream.write(json.dumps([event, msgspec.to_builtins(content)]) + "\n")
            stream.flush()

        cores, threads = processors(), num_threads()
        if hasattr(os, "sched_setaffinity"):  # the last processors: they serve fewer interrupts
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
        clock: Clock = "processor" if threads == 1 else "elapsed"
        for name, extra in (("torch", "torch"), ("JAX", "peers")):
            if importlib.util.find_spec(name.lower()) is None:
                tell("absent", Failure(name, f"{name} is not installed: pip install 'loopnest[{extra}]'"))
        try:
            for number, work in enumerate(works()):
                name = f"{work.item.part}: {work.item.name}"
                tell("at", name)
                try:
                    tell("items", measure(work, clock, quick))
                except WrongResult as wrong:
                    tell("failures", Failure(name, str(wrong)))
                if number == 0:  # a run that is interrupted says where it ran, too
                    tell("environment", dataclasses.replace(environment(), cores=cores))
        except UnavailableError as reason:
            tell("absent", Failure(part, str(reason)))
        tell("environment", dataclasses.replace(environment(), cores=cores))


# --- a run


@dataclass(frozen=True)
class PeerResults:
    """A run. `absent` is what could not be measured, a contender or a whole part, and why."""

    environment: Environment | None
    items: tuple[Item, ...] = ()
    absent: tuple[Failure, ...] = ()
    failures: tuple[Failure, ...] = ()
    interrupted: bool = False
    datetime: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def child_environment(threads: int, variables: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that measures: threads for each library, OpenBLAS with this processor's kernels, and
    `held` to what a part asks for."""
    libraries = (f"{name}_NUM_THREADS" for name in ("OPENBLAS", "MKL", "OMP", "NUMBA", "LOOPNEST"))
    counts = dict.fromkeys((*libraries, "VECLIB_MAXIMUM_THREADS"), str(threads))
    xla = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    kept = {name: value for name, value in variables.items() if name not in SLOWING} | dict(held)
    kept["PYTHONPATH"] = os.pathsep.join([str(suites_folder()), *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, **counts, "XLA_FLAGS": f"{kept.get('XLA_FLAGS', '')} {xla}".strip(), "JAX_PLATFORMS": "cpu"}


def run_peers(
    parts: Sequence[str] = tuple(TITLES),
    *,
    quick: bool = False,
    on_event: OnEvent = ignore,
) -> PeerResults:
    """Compare loopnest with its peers in these parts; what was measured until the end or Ctrl-C.

    quick     fewer sizes, each for a shorter time
    on_event  is called with ("start", the number of parts), ("running", a part), ("at", a piece of work)
    """
    run = Collector(PeerResults(None), on_event)
    on_event("start", len(parts))
    for part in parts:
        on_event("running", part)
        held = AVX2 if part == "isa-v3" else {}
        if ask(run, ["bench_peers.py", part, *(["--quick"] if quick else [])], THREADS.get(part, 1), held) is None:
            break
    return run.results


def ask(
    run: Collector[Any], command: Sequence[str], threads: int, held: Mapping[str, str] = MappingProxyType({})
) -> int | None:
    """Let a file of the suites' folder measure, in a process with this number of threads; its exit status.

    A process that fails is a failure of the piece of work at which it was.
    """
    file, *arguments = command
    status, how_it_ended = run.run(
        [str(suites_folder() / file), *arguments], child_environment(threads, os.environ, held)
    )
    if status:
        run.add("failures", msgspec.to_builtins(Failure(run.at or arguments[0], how_it_ended)))
    return status


# --- tables

HOW = (
    "Every figure is the best of many rounds in which all contenders and the machine's limit are timed in turn, on one "
    "thread pinned to one processor unless it says otherwise."
)


def report(results: PeerResults, width: int) -> Iterator[RenderableType]:
    """What `loopnest bench peers` prints."""
    return shown(results.environment, HOW, sheets(results), remarks(results), width)


SECTION = re.compile("(?=^<!-- loopnest bench peers --markdown: .* -->$)", re.MULTILINE)
"""In a page, where the tables of a machine begin; they end where the next ones do."""


def into_page(page: str, results: PeerResults, command: str) -> str:
    """A Markdown page with these tables: in place of the older ones of this machine, behind those of other machines."""
    text, *sections = SECTION.split(page)
    new = markdown(results, command)
    marker = new.partition("\n")[0]
    same = [n for n, section in enumerate(sections) if section.startswith(f"{marker}\n")]
    sections[same[0] if same else len(sections) :] = [new, *(sections[same[0] + 1 :] if same else ())]
    return text + "\n".join(section.rstrip() + "\n" for section in sections)


def markdown(results: PeerResults, command: str) -> str:
    """The same as a section of a Markdown page."""
    here = results.environment
    machine = f"{here.cpu}, {here.cores} cores" if here else "an unknown machine"
    lines = [f"<!-- loopnest bench peers --markdown: {machine} -->", "", f"## Tables: {machine}", ""]
    lines += [f"Made by `{command}` at {results.datetime}.", ""]
    if here:
        lines += [*(f"- {line}" for line in about(here, HOW).plain.strip().splitlines()), ""]
    for sheet in sheets(results):
        words = len(sheet.headings) if sheet.words > 1 else 1
        under = ["---" if number < words else "---:" for number in range(len(sheet.headings))]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (sheet.headings, under, *sheet.rows)]
        lines += [f"### {sheet.title}", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks(results))]).rstrip() + "\n"


def sheets(results: PeerResults) -> Iterator[Sheet]:
    """A table for each part and unit, and the verdicts on the bars."""
    parts = groups(results.items, lambda item: (item.part, item.unit))
    for (part, _), items in parts.items():
        if part != "operations":
            yield _figures(items)
    if of_operations := [item for item in results.items if item.part == "operations"]:
        yield gains(of_operations)
    bars = []
    for bar in (bar for bar in BARS if bar.part in {part for part, _ in parts}):
        ratio, lowest = judge(bar, results.items)
        work = ", ".join((TITLES[bar.part], *bar.tags))
        bars.append([work, bar.against, f"≥ {bar.least:.2f}", ratio_text(ratio), verdict(ratio, bar.least), lowest])
    if bars:
        yield Sheet("The bars", ["work", "against", "bar", "figure", "", "lowest at"], bars, 6)


def gains(items: Sequence[Item]) -> Sheet:
    """The number of elements from which each operation is faster than NumPy's and torch's, and how much faster. An
    item's tags are the operation and the elements of its first operand."""
    rows = []
    for operation, same in groups(items, lambda item: item.tags[0]).items():
        rows.append([operation])
        for peer in PEERS[:2]:
            ratios = {int(item.tags[1]): ratio for item in same if (ratio := item.ratio(peer)) is not None}
            start = gains_from(ratios)
            if start is None:
                rows[-1] += ["no gain" if ratios else "not compared", ""]
            else:
                there = [ratio for size, ratio in ratios.items() if size >= start]
                low, high = (three_digits(pick(there)) for pick in (min, max))
                rows[-1] += [f"{start:,}", low if low == high else f"{low} to {high}"]
    headings = ["operation", "faster than NumPy from", "times", "faster than torch from", "times"]
    title = f"What a programmer gains, float32: elements from which on every size is {GAIN} times as fast"
    return Sheet(title, headings, rows)


def gains_from(ratios: Mapping[int, float]) -> int | None:
    """The smallest size from which on every ratio is a gain; None if the largest has none.

    >>> gains_from({256: 0.5, 1024: 1.2, 4096: 3.0}), gains_from({256: 2.0, 1024: 1.0})
    (1024, None)
    """
    descending = sorted(ratios, reverse=True)
    gained = [*itertools.takewhile(lambda size: ratios[size] >= GAIN, descending)]
    return gained[-1] if gained else None


def _figures(items: Sequence[Item]) -> Sheet:
    """One row an item: all figures, then our speed as a multiple of the best peer's and as a share of the limits."""
    order = (OURS, *PEERS)
    names = list(dict.fromkeys(name for item in items for name in item.costs))
    names.sort(key=lambda name: order.index(name) if name in order else len(order) + (name in LIMITS))
    against = ["best peer"] if any(item.ratio("best peer") for item in items) else []
    against += [name for name in names if name in LIMITS]
    rows = []
    for item in items:
        rate = item.unit.endswith("/s")
        seconds = [item.costs.get(name) for name in names]
        figures = [three_digits(item.amount / s / 1e9 if rate else s / item.amount * 1e9) if s else "" for s in seconds]
        rows.append([item.name, *figures, *(ratio_text(item.ratio(name)) for name in against)])
    ratios = ["times peer" if name == "best peer" else f"of {name}" for name in against]
    return Sheet(f"{TITLES[items[0].part]}, {items[0].unit}", ["", *names, *ratios], rows)


def remarks(results: PeerResults) -> Iterator[str]:
    """What a reader should know besides the figures; of several notes on a peer the first."""
    yield from (f"not measured: {absent.name}: {absent.message}" for absent in results.absent)
    for name in dict.fromkeys(name for item in results.items for name in item.notes if name != OURS):
        first, *more = [f"{name}: {item.name}: {item.notes[name]}" for item in results.items if name in item.notes]
        yield first + (f", and {len(more)} more" if more else "")
    yield from (f"failed: {failure.name}: {failure.message}" for failure in results.failures)
    if results.interrupted:
        yield "interrupted: the tables hold what was measured until then"
