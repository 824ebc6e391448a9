"""Does a rung hold its contract? An implementation comes in and is called with hard inputs; findings go out, none if
it is right.

>>> import loopnest as ln
>>> from loopnest.verify import verify
>>> verify(ln.matmul["numpy.matmul"])
[]

Kernels go wrong in these ways, and the cases look for them:
- sizes near a vector register's or a tile's, where a loop over full tiles leaves a rest;
- memory layouts: an index forgets a stride;
- NaN and infinity: a tile's padding makes them, and a product that is skipped for a zero factor loses them;
- numbers whose exponential overflows;
- elements that are never written: new results hold a special NaN before the call;
- writes next to a result and reads next to an input: both lie between guard elements;
- inputs that change.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array, dtype_called
from ..numerics import is_float, largest
from ..operation import Arguments, Contract, Implementation, Operation, Workload

SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 97)  # Near numbers of lanes and sizes of tiles, and a prime
LONG = (1100, 4200)  # Longer than a block that fits a cache, so that a second block follows
LARGE = 28_000_000  # The most operations and the most bytes of the largest case, which has work for several threads
PATIENCE = 0.5  # Seconds that a call of the largest case may take
GUARD = 33  # Guard elements on each side of an array. An odd number, so that arrays do not start at a vector's boundary

Arrays = tuple[Array, ...]


@dataclass(frozen=True)
class Case:
    """One call to judge: inputs of some sizes, laid out in memory in some way, perhaps with a special value in them.

    sizes     the axes of the operation's workloads, and their lengths
    layouts   names from LAYOUTS, one for each input; they repeat if there are more inputs
    special   a value to put into an input, or None
    where     the index of the input that gets it, and the element: 0 the first, -1 the last; others modulo the size
    zeros     whether the other inputs are zero then: 0 · inf is NaN, so a kernel may not skip a zero factor
    give_out  whether the call gets arrays for its results
    variation one of the contract's variations, or None
    """

    operation: Operation
    dtype: np.dtype[Any]
    sizes: tuple[tuple[str, int], ...]
    layouts: tuple[str, ...] = ("in C order",)
    special: float | None = None
    where: tuple[int, int] = (0, 0)
    zeros: bool = False
    give_out: bool = False
    variation: str | None = None

    @classmethod
    def of(cls, operation: Operation, dtype: np.dtype[Any], lengths: Sequence[int], **facts: Any) -> Case:
        """The axes have these lengths in turn."""
        axes = operation.contract.workloads[0].shape
        return cls(operation, dtype, tuple(zip(axes, itertools.cycle(lengths), strict=False)), **facts)

    @classmethod
    def of_work(cls, work: float, operation: Operation, dtype: np.dtype[Any]) -> Case:
        """The largest case with at most this work."""
        length = float(1 << 23)
        while True:
            case = cls.of(operation, dtype, [int(length * share) + 3 for share in (1, 1.5, 0.5, 0.9)])
            if case.work() <= work or length < 1:
                return case
            length *= 0.95

    def __str__(self) -> str:
        words = [str(self.dtype), " ".join(f"{axis}={size}" for axis, size in self.sizes)]
        if self.layouts != ("in C order",):
            words.append("inputs " + " and ".join(self.layouts))
        if self.special is not None:
            place = {0: "as first", -1: "as last"}.get(self.where[1], "as an")
            words.append(f"{self.special} {place} element of input {self.where[0]}")
        if self.zeros:
            words.append("the others zero")
        if self.give_out:
            words.append("out given")
        if self.variation:
            words.append(self.variation)
        return ", ".join(words)

    def work(self) -> int:
        """The operations of the call, or its bytes if these are more."""
        contract, sizes = self.operation.contract, dict(self.sizes)
        return max(contract.flops(**sizes), contract.traffic(self.dtype.itemsize, **sizes), 1)

    def arguments(self, rng: np.random.Generator | None = None) -> Arguments:
        """The values of the call: the same each time, or drawn from `rng`."""
        rng = rng or np.random.default_rng(sum(size for _, size in self.sizes))
        sample = self.operation.contract.sample(Workload("case", dict(self.sizes)), self.dtype, rng)
        if self.variation:
            sample = self.operation.contract.variations_of(self.dtype)[self.variation](sample)
        if self.special is None:
            return sample
        number, element = self.where
        changed = [
            np.zeros_like(x) if self.zeros and i != number and is_float(x.dtype) else x.copy()
            for i, x in enumerate(arrays_in(sample.inputs))
        ]
        flat = changed[number].reshape(-1)
        flat[element % flat.size] = self.special
        return Arguments(with_arrays(sample.inputs, changed), sample.options)


def verify(
    implementation: Implementation, dtypes: Iterable[Any] | None = None, cases: Iterable[Cases] | None = None
) -> list[str]:
    """Judge an implementation by all cases, or by some kinds of cases, such as [size_cases, layout_cases].

    Each case is judged in all of the contract's variations. Returns the findings, each a sentence that begins with the
    case; an empty list if all results are right.
    """
    findings = []
    dtypes = map(dtype_called, implementation.dtypes) if dtypes is None else map(np.dtype, dtypes)
    kinds = cases or (size_cases, layout_cases, special_cases, large_cases)
    for dtype, kind in itertools.product(dtypes, kinds):
        for case in varied(kind(implementation, dtype)):
            where = f"{case}, simulated" if implementation.simulated() else str(case)
            findings += [f"{where}: {problem}" for problem in judge(implementation, case)]
    return findings


Cases = Callable[[Implementation, np.dtype[Any]], Iterator[Case]]


def varied(cases: Iterable[Case]) -> Iterator[Case]:
    """Each case, followed by it in each of its contract's variations."""
    for case in cases:
        for variation in (None, *case.operation.contract.variations_of(case.dtype)):
            yield dataclasses.replace(case, variation=variation)


def size_cases(implementation: Implementation, dtype: np.dtype[Any]) -> Iterator[Case]:
    """Every axis in turn with each of SIZES and LONG, and empty; then all axes with each of SIZES."""
    operation = implementation.operation
    axes = list(operation.contract.workloads[0].shape)
    shapes = [dict.fromkeys(axes, size) for size in (0, *SIZES)]
    for axis in axes:
        for size in (0, *SIZES, *LONG):
            others = itertools.cycle((3, 5, 2))
            shapes.append({other: size if other == axis else next(others) for other in axes})
    for shape in shapes:
        yield Case(operation, dtype, tuple(shape.items()))
    if not operation.contract.updates:
        yield Case(operation, dtype, tuple(shapes[3].items()), give_out=True)


def layout_cases(implementation: Implementation, dtype: np.dtype[Any]) -> Iterator[Case]:
    """All inputs in each layout, and the inputs in two layouts by turns."""
    pairs = itertools.permutations(("in C order", "in Fortran order", "stepped"), 2)
    for layouts in (*((layout,) for layout in LAYOUTS), *pairs):
        yield Case.of(implementation.operation, dtype, (13, 9, 18, 5), layouts=layouts)


def special_cases(implementation: Implementation, dtype: np.dtype[Any]) -> Iterator[Case]:
    """NaN, the infinities, and numbers whose exponential overflows as the first and the last element of each input."""
    case = Case.of(implementation.operation, dtype, (5, 9, 18, 3))
    floats = float_inputs(implementation.operation, dtype)
    values = (np.nan, np.inf, -np.inf, 1e3, -1e3)
    for i, element, special, zeros in itertools.product(floats, (0, -1), values, (False, True)):
        yield dataclasses.replace(case, special=special, where=(i, element), zeros=zeros)


@functools.cache
def float_inputs(operation: Operation, dtype: np.dtype[Any]) -> list[int]:
    """The inputs that are arrays of floats, by their numbers."""
    inputs = arrays_in(Case.of(operation, dtype, (5, 9, 18, 3)).arguments().inputs)
    return [i for i, x in enumerate(inputs) if is_float(x.dtype)]


def large_cases(implementation: Implementation, dtype: np.dtype[Any]) -> Iterator[Case]:
    """All axes long, so that there is work for threads; for slow rungs a tenth or a hundredth of it."""
    probe, larger, largest = (Case.of_work(LARGE // n, implementation.operation, dtype) for n in (100, 10, 1))
    judge(implementation, probe)  # compiles what is compiled at the first call
    start = time.perf_counter()
    judge(implementation, probe)
    affordable = probe.work() * PATIENCE / (time.perf_counter() - start)
    yield next((case for case in (largest, larger) if case.work() <= affordable), probe)


def judge(implementation: Implementation, case: Case) -> list[str]:
    """What is wrong with one call."""
    return judge_call(implementation, case.arguments(), case.layouts, case.give_out, answer_of(case))


def judge_call(
    implementation: Implementation,
    arguments: Arguments,
    layouts: Sequence[str] | None = ("in C order",),
    give_out: bool = False,
    answer: tuple[Arrays, Arrays] | None = None,
) -> list[str]:
    """What is wrong with a call with these arguments, with layouts as in `Case`.

    layouts  None leaves the inputs where they are
    answer   the exact results and the bounds on their errors, if they are known
    """
    contract = implementation.operation.contract
    if layouts is None:
        inputs = [_Memory(x, x) for x in arrays_in(arguments.inputs)]
    else:
        inputs = [_Memory(base, view) for base, view in lay_out(arguments, layouts, contract.updates)]
    values = with_arrays(arguments.inputs, [memory.view for memory in inputs])
    dtype = contract.result_dtype(inputs[0].view.dtype, **arguments.options)
    exact, bound = answer or exact_and_bound(contract, values, arguments.options)
    options = dict(arguments.options)
    given = [_Memory.poisoned(x.shape, dtype) for x in exact[: contract.outs]] if give_out else []
    if given:
        options["out"] = given[0].view if len(given) == 1 else tuple(memory.view for memory in given)

    ordinary = all(np.isfinite(x).all() for x in (*arrays_in(values), *exact, *bound))
    with new_results_poisoned() as new, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always" if ordinary else "ignore")
        try:
            returned = implementation(*values, **options)
        except Exception as error:
            return [f"raised {type(error).__name__}: {error}"]
    # BLAS libraries compute in lanes beyond a matrix's edge, from stale memory, and leave the processor's flag set:
    # NumPy then warns (its issue 24067).
    arithmetic = [str(w.message) for w in warned if issubclass(w.category, RuntimeWarning)]
    problems = [f"warned: {message}" for message in arithmetic if not message.endswith("in matmul")]
    for memory in (*new, *given):
        problems += memory.problems_as_result()
    for number, memory in enumerate(inputs):
        if memory.changed_around() if number in contract.updates else memory.changed():
            problems.append(f"changed input {number}, or memory next to it")
    results = results_of(implementation.operation, values, returned)
    if any(result is not memory.view for result, memory in zip(results, given, strict=False)):
        problems.append("returned something else than the given `out`")
    if len(results) != len(exact):
        return [*problems, f"returned {len(results)} results, expected {len(exact)}"]
    return problems + compare_all(results, exact, bound, dtype)


def results_of(operation: Operation, inputs: Sequence[Any], returned: Any) -> list[Any]:
    """The arrays that a call returned, or the inputs that it updated."""
    contract = operation.contract
    return [inputs[i] for i in contract.updates] or list(contract.results(returned))


def compare_all(
    results: Sequence[Any], exact: Sequence[Array], bound: Sequence[Array], dtype: np.dtype[Any]
) -> list[str]:
    """What is wrong with the results of a call."""
    names = [f"result {number}" for number in range(len(exact))] if len(exact) > 1 else ["the result"]
    compared = zip(results, exact, bound, names, strict=True)
    return [problem for r, e, b, name in compared for problem in compare(r, e, b, dtype, name)]


def compare(result: Any, exact: Array, bound: Array, dtype: np.dtype[Any], name: str = "the result") -> list[str]:
    """What is wrong with a result: its kind, shape or dtype, or |result - exact| > bound somewhere.

    NaN and infinity must stand where the exact result has them and nowhere else. If |exact| + bound is beyond the
    dtype's largest number, the result may also be infinite; with an infinite bound it may be anything.
    """
    if not isinstance(result, np.ndarray | np.generic):
        return [f"{name} is a {type(result).__name__}, expected a NumPy array"]
    if result.dtype != dtype or result.shape != exact.shape:
        return [f"{name} has dtype {result.dtype} and shape {result.shape}, expected {dtype} and {exact.shape}"]
    wrong = wrong_elements(np.asarray(result), exact, bound)
    if not wrong.any():
        return []
    wide = np.asarray(result, exact.dtype)
    with np.errstate(all="ignore"):
        ratio = np.where(wrong, np.nan_to_num(abs(wide - exact) / bound, nan=np.inf), -1)
    worst = np.unravel_index(np.argmax(ratio), wrong.shape)
    place = str([int(i) for i in worst]) if worst else ""
    return [
        f"{name}{place} is {wide[worst]}, expected {exact[worst]} ± {float(bound[worst]):.2g}; "
        f"{np.count_nonzero(wrong)} of {wrong.size} elements are wrong"
    ]


def wrong_elements(result: Array, exact: Array, bound: Array) -> Array:
    """A mask of the elements that are not within their bounds, as `compare` judges them."""
    with np.errstate(all="ignore"):
        wide = np.asarray(result, exact.dtype)
        error = abs(wide - exact)
        same = (wide == exact) | (np.isnan(wide) & np.isnan(exact))
        anything = np.isinf(bound) & np.isfinite(exact)  # a sum on the way is beyond the largest number
        overflow = np.isinf(wide) & (wide * exact > 0) & (abs(exact) + bound > largest(result.dtype))
        return np.asarray(~(same | anything | overflow | ((error <= bound) & np.isfinite(error))))


@contextmanager
def new_results_poisoned() -> Iterator[list[_Memory]]:
    """Inside, new results lie between guard elements and hold the NaN of POISON, which marks unwritten elements."""
    made: list[_Memory] = []

    def poisoned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        made.append(_Memory.poisoned(shape, dtype))
        return made[-1].view

    with arrays.results_from(poisoned):
        yield made


POISON: dict[str, Any] = {
    "float32": np.uint32(0x7FC0DEAD),
    "float64": np.uint64(0x7FF8_0000_DEAD_BEEF),
    "bfloat16": np.uint16(0x7FDE),
    "float16": np.uint16(0x7EAD),
    "int32": np.uint32(0x7FC0DEAD),
}
"""The bits of a NaN that no computation with other numbers gives, or an integer that none is likely to give."""


def poison_of(dtype: np.dtype[Any]) -> Any:
    """What a result holds before a kernel fills it: NaN, or an integer that none is likely to give."""
    return np.nan if is_float(dtype) else POISON[dtype.name].view(dtype)


class _Memory:
    """An array (`view`) somewhere in memory of its own (`base`), with guard elements around it."""

    def __init__(self, base: Array, view: Array) -> None:
        self.base, self.view = base, view
        self._base_before, self._view_before = base.tobytes(), view.copy()

    @classmethod
    def poisoned(cls, shape: Sequence[int], dtype: np.dtype[Any]) -> _Memory:
        base, view = _guarded(shape, dtype)
        bits(base)[:] = POISON[dtype.name]
        return cls(base, view)

    def changed(self) -> bool:
        return self.base.tobytes() != self._base_before

    def changed_around(self) -> bool:
        now = self.view.copy()
        self.view[...] = self._view_before
        changed = self.changed()
        self.view[...] = now
        return changed

    def problems_as_result(self) -> list[str]:
        unwritten = count_unwritten(self.view)
        problems = [f"{unwritten} of a result's {self.view.size} elements were never written"] if unwritten else []
        return problems + ["memory next to a result was written to"] * self.changed_around()


def count_unwritten(result: Array) -> int:
    """How many elements still hold POISON."""
    return int(np.count_nonzero(bits(result) == POISON[result.dtype.name]))


def bits(x: Array) -> Array:
    """Floats as the unsigned integers that have the same bits."""
    return x.view(np.dtype(f"u{x.itemsize}"))


def _guarded(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """New memory with guard elements, NaN for floats, around an array of this shape."""
    size = math.prod(shape)
    base = np.full(GUARD + size + GUARD, np.nan if is_float(dtype) else 0, dtype)
    return base, base[GUARD : GUARD + size].reshape(shape)


def _each(x: Array, step: slice) -> Array:
    """These elements along each axis."""
    return np.asarray(x[(step,) * x.ndim])


Shape = tuple[int, ...]
LAYOUTS: dict[str, tuple[Callable[[Shape], Sequence[int]], Callable[[Array], Array]]] = {
    "in C order": (lambda shape: shape, lambda x: x),
    "in Fortran order": (lambda shape: shape[::-1], lambda x: x.T),
    "with padded rows": (lambda shape: (*shape[:-1], shape[-1] + 3), lambda x: x[..., :-3]),
    "with padded columns": (lambda shape: (*shape[:0:-1], shape[0] + 3), lambda x: x[..., :-3].T),
    "stepped": (lambda shape: [2 * n + 1 for n in shape], lambda x: _each(x, slice(1, None, 2))),
    "backwards": (lambda shape: shape, lambda x: _each(x, slice(None, None, -1))),
    "backwards in Fortran order, stepped": (
        lambda shape: [3 * n for n in shape[::-1]],
        lambda x: _each(x, slice(None, None, -3)).T,
    ),
    "with one row for all": (lambda shape: (min(1, shape[0]), *shape[1:]), lambda x: x),
    "with one column for all": (lambda shape: (*shape[:-1], min(1, shape[-1])), lambda x: x),
    "read-only": (lambda shape: shape, lambda x: x),
}
"""Ways for an array to lie in memory, by name: the shape of the memory for an array's shape, and the array in it."""

UNWRITEABLE = ("with one row for all", "with one column for all", "read-only")
"""The layouts in which an array cannot be updated."""


def laid_out(x: Array, layout: str) -> tuple[Array, Array]:
    """The memory, and the array in it. One row or one column for all has a stride of 0."""
    shape, view = LAYOUTS[layout]
    base, whole = _guarded(shape(x.shape), x.dtype)
    part = view(whole)
    part[...] = x[tuple(slice(n) for n in part.shape)]
    if layout in UNWRITEABLE:
        part = np.broadcast_to(part, x.shape)
        part.flags.writeable = False
    return base, part


def lay_out(arguments: Arguments, layouts: Sequence[str], updates: Sequence[int] = ()) -> list[tuple[Array, Array]]:
    """For each input the memory and the array in it. The layouts repeat; an input that is updated is writeable."""
    placed = zip(itertools.count(), arrays_in(arguments.inputs), itertools.cycle(layouts))
    return [laid_out(x, "in C order" if i in updates and name in UNWRITEABLE else name) for i, x, name in placed]


def _fields(value: Any) -> list[str] | None:
    """The names of a dataclass's arrays; None for an array."""
    if not dataclasses.is_dataclass(value):
        return None
    return [f.name for f in dataclasses.fields(value) if isinstance(getattr(value, f.name), np.ndarray)]


def arrays_in(values: Sequence[Any]) -> list[Any]:
    """The arrays among the values, also inside a dataclass (a cache)."""
    leaves = []
    for value in values:
        names = _fields(value)
        leaves += [value] if names is None else [getattr(value, name) for name in names]
    return leaves


def with_arrays(values: Sequence[Any], leaves: Iterable[Array]) -> tuple[Any, ...]:
    """The values with other arrays in place of their own."""
    following, changed = iter(leaves), []
    for value in values:
        names = _fields(value)
        others = {name: next(following) for name in names or ()}
        changed.append(next(following) if names is None else dataclasses.replace(value, **others))
    return tuple(changed)


def answer_of(case: Case) -> tuple[Arrays, Arrays]:
    """The exact results of a case and the elementwise bound on a result's error; cached for the next rung."""
    return _small_answer(case) if case.work() <= LARGE // 100 else _large_answer(case)


def _answer(case: Case) -> tuple[Arrays, Arrays]:
    arguments, contract = case.arguments(), case.operation.contract
    views = [view for _, view in lay_out(arguments, case.layouts, contract.updates)]
    return exact_and_bound(contract, with_arrays(arguments.inputs, views), arguments.options)


_small_answer = functools.lru_cache(maxsize=2000)(_answer)
_large_answer = functools.lru_cache(maxsize=4)(_answer)


def exact_and_bound(contract: Contract, inputs: Sequence[Any], options: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
    """The exact results, and how far a result may be from each element."""
    with np.errstate(all="ignore"):
        exact = tuple(np.asarray(x) for x in contract.reference(*inputs, **options))
        bound = tuple(np.asarray(x) for x in contract.bound(*inputs, **options))
    return exact, bound
