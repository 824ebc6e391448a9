"""What a comparison is fought on and by: one set of arrays, and the sides that work on them.

Results are watched while they are timed: NaN is put where they are to come before each sample, and after it what lies
there is held to the contract, outside of the time.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..operation import Implementation, Operation, Workload
from ..timing.turns import Caches, Reading, Turn
from ..verify import compare
from .measure import Problem, WrongResult
from .user_rung import places_of, returned_by

WITNESSES = 1024
"""Elements of a result that are looked at after every sample."""


class Stage:
    """The one set of arrays on which both sides work, and what is right."""

    def __init__(self, operation: Operation, workload: Workload, dtype: np.dtype[Any]) -> None:
        self.contract, self.workload, self.dtype = operation.contract, workload, dtype
        start = time.perf_counter()
        self.problem: Problem = Problem.sample(operation, workload, None, {}, dtype=dtype)
        self.seconds_of_reference = time.perf_counter() - start
        self.args, self.results = self.problem.kernel_arguments()
        self.places = places_of(self.results, self.args)
        self._originals = {i: self.args[i].copy() for i in self.places} if self.contract.updates else {}
        rng = np.random.default_rng(1)
        self._witnesses = [
            np.unique(np.concatenate([[0, x.size - 1], rng.integers(0, x.size, min(x.size, WITNESSES) - 1)]))
            for x in self.results
        ]

    def poison(self, results: Sequence[Any], everywhere: bool = False) -> None:
        """Put NaN where results are to come, at the witnesses or everywhere; restore what is updated in place."""
        for place, original in self._originals.items():
            self.args[place][...] = original
        if self._originals:
            return
        for result, witnesses in zip(results, self._witnesses, strict=False):
            if isinstance(result, np.ndarray) and result.flags.writeable and result.flags.c_contiguous:
                result.reshape(-1)[slice(None) if everywhere else witnesses] = np.nan

    def problems(self, results: Sequence[Any], everywhere: bool = False) -> list[str]:
        """What is wrong with the results, at the witnesses or everywhere.

        Those of updates are looked at everywhere only, since a sample may have updated them several times.
        """
        found = []
        if self._originals and not everywhere:
            return []
        if len(results) != len(self.results):
            return [f"{len(results)} results, expected {len(self.results)}"]
        for result, mine, witnesses, exact, bound in zip(
            results, self.results, self._witnesses, self.problem.exact, self.problem.bound, strict=True
        ):
            value = np.asarray(result)
            if value.size == mine.size and value.dtype == mine.dtype:
                value = value.reshape(mine.shape)  # kernels get some arrays as rows
            if everywhere or value.shape != exact.shape:
                found += compare(value, exact, bound, self.dtype)
            else:
                flat = [x.reshape(-1)[witnesses] for x in (value, exact, np.broadcast_to(bound, exact.shape))]
                found += compare(flat[0], flat[1], flat[2], self.dtype, f"of {len(witnesses)} elements, the result")
        return found

    def other_values(self) -> Problem:
        """Put other values into the inputs, in place; the problem for them, whose arrays are these."""
        other = self.contract.sample(self.workload, self.dtype, np.random.default_rng(2))
        with np.errstate(all="ignore"):
            exact = [np.asarray(x) for x in self.contract.reference(*other.inputs, **other.options)]
            bound = [np.asarray(x) for x in self.contract.bound(*other.inputs, **other.options)]
        problem = dataclasses.replace(self.problem, inputs=other.inputs, options=other.options)
        values, _ = problem.kernel_arguments()
        for i, (mine, new) in enumerate(zip(self.args, values, strict=True)):
            if isinstance(mine, np.ndarray) and (i not in self.places or self._originals):
                mine[...] = new
                if i in self._originals:
                    self._originals[i][...] = new
        return dataclasses.replace(self.problem, exact=exact, bound=bound)


class Side:
    """One of the two: its calls, and the samples of the bout that is going on."""

    def __init__(self, implementation: Implementation, stage: Stage, given: bool) -> None:
        self.id = implementation.id
        self.stage = stage
        self.implementation = implementation
        self.turns: list[Turn] = []
        self.last: Sequence[Any] = stage.results
        self.call = self._call(implementation, given)

    def _call(self, implementation: Implementation, given: bool) -> Callable[[], object]:
        kernel, args, places = implementation.kernel, self.stage.args, self.stage.places
        if given or self.stage.contract.updates:
            return functools.partial(kernel, *args)
        function = returned_by(implementation)
        if function is not None:
            others = tuple(arg for i, arg in enumerate(args) if i not in places)

            def returning() -> None:
                returned = function(*others)
                self.last = returned if isinstance(returned, tuple) else (returned,)

            return returning
        new = [(i, args[i].shape, args[i].dtype) for i in places]

        def allocating() -> None:
            filled = list(args)
            for i, shape, dtype in new:
                filled[i] = np.empty(shape, dtype)
            kernel(*filled)
            self.last = [filled[i] for i, _, _ in new]

        return allocating

    def turn(self, caches: Caches, evict: Callable[[], None]) -> Turn:
        """Warm: a call that is not timed, then a sample of many. Cold: the caches emptied, then a sample of one."""

        def prepare() -> None:
            if caches == "warm":
                self.call()
            self.stage.poison(self.last)
            if caches == "cold":
                evict()

        def check() -> None:
            self.hold(self.stage.problems(self.last), "while it was timed")

        self.turns.append(Turn(self.id, self.call, prepare, check))
        return self.turns[-1]

    @property
    def readings(self) -> list[Reading]:
        """All samples so far."""
        return [reading for turn in self.turns for reading in turn.readings]

    def check_all(self, when: str) -> None:
        """One more call, into results full of NaN, held to the contract everywhere."""
        self.stage.poison(self.last, everywhere=True)
        self.call()
        self.hold(self.stage.problems(self.last, everywhere=True), when)

    def hold(self, problems: Sequence[str], when: str) -> None:
        if problems:
            name = self.implementation.operation.name
            raise WrongResult(f"{name} {self.id} breaks its contract {when}: {problems[0]}")
