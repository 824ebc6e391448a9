"""One set of arrays for both sides of a duel, and the sides' calls on them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..operation import Implementation, Operation, Workload
from ..timing.turns import Caches, Eviction, Reading, Turn, seconds_of
from ..verify import compare
from ..verify.problem import Problem, WrongResult, places_of
from .user_rung import returned_by

WITNESSES = 64
"""Elements of a result that are looked at after each sample."""


class Stage:
    """The one set of arrays on which both sides work, and the exact results."""

    def __init__(self, operation: Operation, workload: Workload, dtype: np.dtype[Any]) -> None:
        self.operation, self.workload, self.dtype = operation, workload, dtype

        def sample() -> None:
            self.problem = Problem.sample(operation, workload, dtype=dtype)

        self.seconds_of_reference = seconds_of(sample)
        self.args, self.results = self.problem.kernel_arguments()
        self.places = places_of(self.results, self.args)
        self.updates = operation.contract.updates
        self._originals = {i: self.args[i].copy() for i in self.places} if self.updates else {}
        rng = np.random.default_rng(1)
        self._witnesses = [np.unique(np.append(rng.integers(0, x.size, WITNESSES), x.size - 1)) for x in self.results]

    def restore(self) -> None:
        """Give inputs that are updated in place their first values."""
        for place, original in self._originals.items():
            self.args[place][...] = original

    def poison(self, results: Sequence[Any], everywhere: bool = True) -> None:
        """Put NaN into the results, or into their witnesses; restore inputs that are updated in place."""
        self.restore()
        for result, witnesses in zip(results, self._witnesses, strict=False) if not self.updates else ():
            if isinstance(result, np.ndarray) and result.flags.writeable and result.flags.c_contiguous:
                result.reshape(-1)[slice(None) if everywhere else witnesses] = np.nan

    def witnessed(self, results: Sequence[Any]) -> list[str]:
        """Errors of the witnesses, which held NaN before the sample. Inputs updated in place have none."""
        if self.updates or any(np.size(x) != place.size for x, place in zip(results, self.results, strict=False)):
            return []
        found: list[str] = []
        for i, result in enumerate(results):
            of = self.problem.exact[i], np.broadcast_to(self.problem.bound[i], self.problem.exact[i].shape)
            value, exact, bound = (np.reshape(x, -1)[self._witnesses[i]] for x in (result, *of))
            found += compare(value, exact, bound, self.dtype, f"of {len(value)} elements, the result")
        return found

    def problems(self, results: Sequence[Any]) -> list[str]:
        """Errors of the results."""
        if len(results) != len(self.results):
            return [f"{len(results)} results, expected {len(self.results)}"]
        found: list[str] = []
        exact_and_bound = zip(self.problem.exact, self.problem.bound, strict=True)
        for result, place, (exact, bound) in zip(results, self.results, exact_and_bound, strict=True):
            value = np.asarray(result)
            if value.size == place.size and value.dtype == place.dtype:
                value = value.reshape(place.shape)  # kernels get some arrays as rows
            found += compare(value, exact, bound, self.dtype)
        return found

    def change_values(self) -> None:
        """Put other values into the inputs, in place, and compute their exact results."""
        other = Problem.sample(self.operation, self.workload, dtype=self.dtype, seed=2)
        values, _ = dataclasses.replace(other, out=self.problem.out).kernel_arguments()
        for i, (mine, new) in enumerate(zip(self.args, values, strict=True)):
            if isinstance(mine, np.ndarray) and (i not in self.places or self.updates):
                mine[...] = new
                if i in self._originals:
                    self._originals[i][...] = new
        self.problem = other


class Side:
    """One of the two: its call on the stage's arrays, and its turns.

    given  whether it gets memory for its results, or allocates it at each call
    """

    def __init__(self, implementation: Implementation, stage: Stage, given: bool) -> None:
        self.id = implementation.id
        self.implementation, self.stage = implementation, stage
        self.turns: list[Turn] = []
        self.last: Sequence[Any] = stage.results
        self.call = self._call(given)

    def _call(self, given: bool) -> Callable[[], object]:
        kernel, args, places = self.implementation.kernel, self.stage.args, self.stage.places
        if given or self.stage.updates:
            return functools.partial(kernel, *args)
        function = returned_by(self.implementation)
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

    def turn(self, caches: Caches, evict: Eviction) -> Turn:
        """Warm: a call that is not timed, then a sample of many. Cold: the caches emptied, then a sample of one."""

        def prepare() -> None:
            if caches == "warm":
                self.call()
            self.stage.poison(self.last, everywhere=False)
            if caches == "cold":
                evict()

        def check() -> None:
            self.hold(self.stage.witnessed(self.last), "while it was timed")

        self.turns.append(Turn(self.id, self.call, prepare, check))
        return self.turns[-1]

    @property
    def readings(self) -> list[Reading]:
        """All samples so far."""
        return [reading for turn in self.turns for reading in turn.readings]

    def check(self, when: str) -> None:
        """One more call, into results full of NaN, held to the contract."""
        self.stage.poison(self.last)
        self.call()
        self.hold(self.stage.problems(self.last), when)

    def hold(self, problems: Sequence[str], when: str) -> None:
        """Raises WrongResult with the first of these problems."""
        if problems:
            raise WrongResult(f"{self.stage.operation.name} {self.id} breaks its contract {when}: {problems[0]}")
