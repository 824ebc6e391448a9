"""Timing several contenders in turn, so that what disturbs the machine disturbs all of them.

In every round each contender has one turn: a window of a few milliseconds in which it is called once, or as often as
fit. Rounds go through the contenders forwards and backwards alternately. A contender's time is that of its fastest
window; the mean would measure the other processes of the machine. The rounds go on until everybody's fastest window has
been nearly reached a second time, so that it was no luck of one, or until no time is left.

Work of one thread is timed by the process's processor time. Where nothing else runs that is the time that passes, and
where something does, the windows in which it had the processor are not lost: calls of half a second hardly ever find a
shared machine idle.
"""

from __future__ import annotations

import itertools
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...machine.limits import Piece
from ...timing.turns import WINDOW, Clock, Turn, calibrate, clocked, run_rounds

NEARLY = 1.01
"""How far a contender's second fastest window may be from its fastest for its time to count as settled."""

LONGEST = 20e-3
"""Seconds of a limit's turn at most: where calls are longer, it has turns as long as theirs up to here."""


@dataclass(frozen=True)
class Statement:
    """A line of Python to be timed, as its user would write it, with the names in it.

    arrays   takes what the line gives, and returns it as a list of NumPy arrays that can be compared
    prepare  is called before every turn, outside of the time
    """

    code: str
    names: Mapping[str, Any]
    arrays: Callable[[Any], list[Any]]
    prepare: Callable[[], object] | None = None

    def results(self) -> list[Any]:
        if self.prepare:
            self.prepare()
        return self.arrays(eval(self.code, dict(self.names)))

    def turn(self, name: str, clock: Clock) -> Turn:
        loop = timeit.Timer(self.code, globals=dict(self.names)).timeit

        def prepare() -> None:
            if self.prepare:
                self.prepare()
                loop(1)  # what was prepared, such as threads, starts outside of the time

        return Turn(name, prepare=prepare, sample=clocked(loop), clock=clock)


def settled(turn: Turn) -> bool:
    """Whether its fastest window has nearly been reached a second time."""
    return turn.second_best <= NEARLY * turn.best


@dataclass(frozen=True)
class Pace:
    """How long one piece of work is measured: so many rounds and seconds at least; and until all contenders' times have
    settled, but no longer than `patience`, in seconds."""

    rounds: int
    seconds: float = 0.0
    patience: float = 0.0


def fastest_form(forms: Sequence[Statement], clock: Clock = "elapsed") -> Statement:
    """Of several ways of asking a library for the same, the fastest here."""
    if len(forms) == 1:
        return forms[0]
    turns = [form.turn(form.code, clock) for form in forms]
    calibrate(turns, WINDOW / 2, longest=LONGEST)
    run_rounds(turns, seconds=0.0, least=2)
    return forms[min(range(len(forms)), key=lambda i: turns[i].best)]


def time_in_turn(
    statements: Mapping[str, Statement],
    limits: Mapping[str, Sequence[Piece]],
    pace: Pace,
    clock: Clock = "elapsed",
) -> tuple[dict[str, float], dict[str, float], int]:
    """The seconds of each contender's fastest call; the highest rate of each limit; how many rounds there were."""
    contenders = [statement.turn(name, clock) for name, statement in statements.items()]
    pieces = {name: [Turn(name, piece.run, clock=clock) for piece in limit] for name, limit in limits.items()}
    turns = [*contenders, *itertools.chain(*pieces.values())]
    calibrate(turns, longest=LONGEST)
    start = time.perf_counter()

    def enough(rounds: int) -> bool:
        return rounds >= pace.rounds and time.perf_counter() - start >= pace.seconds and all(map(settled, turns))

    rounds = run_rounds(turns, seconds=max(pace.seconds, pace.patience), least=pace.rounds, until=enough)
    rates = {
        name: max(piece.amount / turn.best for piece, turn in zip(limits[name], ways, strict=True))
        for name, ways in pieces.items()
    }
    return {turn.name: turn.best for turn in contenders}, rates, rounds
