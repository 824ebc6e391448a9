"""The process that measures one part of the comparison: benchmarks/bench_peers.py has the parts, and calls main().

run.py starts it, in an environment of its own. Before torch and JAX are loaded it binds itself to as many processors as
it may use threads: a library that starts more threads all the same, as XLA does, has no more than those.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...backends.threads import num_threads, processors
from ...machine.limits import Piece
from ...operations import OPERATIONS
from ...timing.environment import environment
from ...timing.turns import Clock
from ..measure import WrongResult
from .contenders import KNOWN, Contender, why_not_here
from .records import OURS, PEERS, Absent, Item
from .rounds import Pace, Statement, fastest_form, time_in_turn

FULL = Pace(rounds=5, seconds=1.0, patience=5.0)
QUICK = Pace(rounds=3, seconds=0.1, patience=0.5)


class NotHere(Exception):
    """Why a part cannot be measured on this machine."""


@dataclass(frozen=True)
class Work:
    """What is asked of the contenders, how it is judged, and against which limits. The rest is as in Item.

    operation  whose fastest implementation is ours
    ask        gives a contender's statements for it
    problems   says what is wrong with the results of one
    limits     by name: how much of that work is in a call, and the loops that do it
    peers      those that are asked
    more       further statements by name, timed in the same rounds
    """

    part: str
    name: str
    tags: tuple[str, ...]
    unit: str
    amount: float
    operation: str
    ask: Callable[[Contender], list[Statement]]
    problems: Callable[[Sequence[Any]], list[str]]
    limits: Mapping[str, tuple[float, Sequence[Piece]]] = field(default_factory=dict)
    peers: tuple[str, ...] = PEERS
    more: Mapping[str, Statement] = field(default_factory=dict)


Part = Callable[[bool], Iterable[Work | Item]]
"""Gives, for a quick run or for a full one, one piece of work after another."""


def main(parts: Mapping[str, Part]) -> None:
    """Measure the part that the command line names, and tell what comes of it: see bench/process.py."""
    parser = argparse.ArgumentParser(description="One part of `loopnest bench peers`, told as lines of JSON.")
    parser.add_argument("part", choices=parts)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--events", type=int, default=1, metavar="FD", help="the descriptor to write to")
    asked = parser.parse_args()
    with os.fdopen(asked.events, "w", encoding="utf-8") as stream:

        def tell(event: str, content: Any) -> None:
            stream.write(json.dumps([event, content]) + "\n")
            stream.flush()

        cores, threads = processors(), num_threads()
        bind(threads)
        try:
            measure_part(parts[asked.part](asked.quick), QUICK if asked.quick else FULL, tell, clock_for(threads))
        except NotHere as reason:
            tell("absent", dataclasses.asdict(Absent(asked.part, str(reason))))
        tell("environment", dataclasses.asdict(dataclasses.replace(environment(), cores=cores)))


def bind(threads: int) -> None:
    """Run on so many processors, the last ones, which serve fewer interrupts. Only Linux has the call."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def clock_for(threads: int) -> Clock:
    """What times the work of a process of so many threads: see rounds.py. It is chosen once, at the start: a
    contender's turn may leave another number of threads behind, and two threads by processor time look like one."""
    return "processor" if threads == 1 else "elapsed"


def measure_part(
    works: Iterable[Work | Item], pace: Pace, tell: Callable[[str, Any], None], clock: Clock = "elapsed"
) -> None:
    contenders: dict[str, Contender | None] = {}
    for work in works:
        tell("at", f"{work.part}: {work.name}")
        if isinstance(work, Work):
            for name in (OURS, *work.peers):
                if name not in contenders:
                    contenders[name] = _contender(name, tell)
            try:
                work = measure(work, [c for name in (OURS, *work.peers) if (c := contenders[name])], pace, clock)
            except WrongResult as wrong:
                tell("failure", {"name": f"{work.part}: {work.name}", "message": str(wrong)})
                continue
        tell("item", dataclasses.asdict(work))


def _contender(name: str, tell: Callable[[str, Any], None]) -> Contender | None:
    reason = why_not_here(name)
    if reason is None:
        return KNOWN[name]()
    tell("absent", dataclasses.asdict(Absent(name, reason)))
    return None


def measure(work: Work, contenders: Sequence[Contender], pace: Pace, clock: Clock = "elapsed") -> Item:
    """Hold everyone's results to the bound, then time them. Raises WrongResult where ours are wrong."""
    chosen: dict[str, Statement] = {}
    notes = {}
    for contender in contenders:
        forms = work.ask(contender)
        problems = [problem for form in forms for problem in work.problems(form.results())]
        if problems and contender.name == OURS:
            raise WrongResult("; ".join(problems))
        if problems:
            notes[contender.name] = f"not within the bound: {problems[0]}"
        if forms:
            chosen[contender.name] = fastest_form(forms, clock)
    limits = {name: pieces for name, (_, pieces) in work.limits.items()}
    costs, rates, rounds = time_in_turn({**chosen, **work.more}, limits, pace, clock)
    statements = {name: statement.code for name, statement in {**chosen, **work.more}.items()}
    statements[OURS] += f"  # {OPERATIONS[work.operation].fastest().id}"
    return Item(
        part=work.part,
        name=work.name,
        tags=work.tags,
        unit=work.unit,
        amount=work.amount,
        costs=costs,
        floors={name: amount / rates[name] for name, (amount, _) in work.limits.items()},
        statements=statements,
        notes=notes,
        rounds=rounds,
    )
