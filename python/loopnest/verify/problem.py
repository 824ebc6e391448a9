"""The arguments of calls that are timed, the memory for their results, and the exact results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..operation import Implementation, Operation, Workload
from . import compare_all, exact_and_bound, poison_of

FLOAT32 = np.dtype(np.float32)

Arrange = Callable[..., tuple[Any, ...]]
"""Takes an operation's inputs and returns others: in another memory layout, or of another shape."""


class WrongResult(AssertionError):
    """An implementation's result is not within its contract's bound."""


@dataclass(frozen=True)
class Problem:
    """One call of an operation: its inputs and options, memory for its results, the bound around the exact ones, and
    the results' dtype."""

    operation: Operation
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]
    out: Any
    exact: Sequence[Array]
    bound: Sequence[Array]
    dtype: np.dtype[Any] = FLOAT32

    @classmethod
    def sample(
        cls,
        operation: Operation,
        workload: Workload,
        arrange: Arrange | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        dtype: np.dtype[Any] = FLOAT32,
        seed: int = 0,
    ) -> Problem:
        """Random inputs of the workload's shape; `arrange` changes them, `options` are the operation's."""
        contract = operation.contract
        arguments = contract.sample(workload, dtype, np.random.default_rng(seed))
        inputs = arguments.inputs if arrange is None else arrange(*arguments.inputs)
        options = {**arguments.options, **(options or {})}
        exact, bound = exact_and_bound(contract, inputs, options)
        kind = contract.result_dtype(dtype, **options)
        given = () if contract.updates else tuple(np.empty(x.shape, kind) for x in exact[: contract.outs])
        out = given[0] if len(given) == 1 else given or None
        return cls(operation, inputs, options, out, exact, bound, kind)

    def check(self, implementation: Implementation) -> None:
        """Call it with results that hold NaN before. Raises WrongResult where they are not within the bound then."""
        for array in self.out if isinstance(self.out, tuple) else (self.out,):
            array.fill(poison_of(array.dtype))
        self.hold(self.run(implementation), f"{self.operation.name} {implementation.id}")

    def run(self, implementation: Implementation) -> Sequence[Array]:
        """Call it as a user does, with `out`; its results."""
        return self.operation.contract.results(implementation(*self.inputs, **self.options, out=self.out))

    def hold(self, results: Sequence[Array], who: str) -> None:
        """Raises WrongResult, with who has failed, where a result is not within its bound."""
        for problem in compare_all(results, self.exact, self.bound, self.dtype):
            raise WrongResult(f"{who}: {problem}")

    def kernel_arguments(self) -> tuple[tuple[Any, ...], tuple[Array, ...]]:
        """The arguments that the operation's checks pass to a kernel, and the results' arrays among them, as the
        caller has them. They are the same arrays each time, except for results that `out` does not take."""
        calls: list[tuple[Any, ...]] = []
        contract, out = self.operation.contract, {} if self.out is None else {"out": self.out}
        returned = contract.run(lambda *args: calls.append(args), *self.inputs, **self.options, **out)
        (args,) = calls  # inputs of every layout that is measured come as one piece
        return args, tuple(self.inputs[i] for i in contract.updates) or contract.results(returned)


def places_of(results: Sequence[Any], args: Sequence[Any]) -> tuple[int, ...]:
    """The positions of the results' arrays among a kernel's arguments."""
    return tuple(
        i
        for i, arg in enumerate(args)
        if isinstance(arg, np.ndarray) and any(np.shares_memory(arg, result) for result in results)
    )
