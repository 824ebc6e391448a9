"""Probes: calls with inputs that no call before had, whose right results are known. And which probes a kernel gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..numerics import is_float, likely_errors
from ..operation import Arguments, Operation
from ..verify import (
    LAYOUTS,
    Case,
    arrays_in,
    exact_and_bound,
    float_inputs,
    lay_out,
    layout_cases,
    size_cases,
    special_cases,
    varied,
    with_arrays,
)
from ..verify.signature import options, scalars

Arrays = tuple[np.ndarray[Any, Any], ...]

FIRST = ((19, 17, 22, 13), (32, 32, 32, 32), (35, 33, 34, 31))
"""Lengths of the first cases. A fault is easier to name where sizes are uneven and larger than a tile."""

NEAR = (64, 128, 256)
"""Every kind of case is also asked at sizes that are drawn anew, up to half as long again as each of these: kernels
take other paths there."""

NEAR_WORK = {**dict.fromkeys((1, 2, 4), 1 << 26), 8: 1 << 22}
"""Operations, or bytes, of such a case at most: some axes are shorter then; by the bytes of an element."""

RESTS = (33, 50, 70)
"""Lengths of the second axis that end within a block. A NaN is first in the second row, where products on tiles have
read it to fill the first row's block."""

REPEATED = (16, 33, 64)  # Lengths at which new values come in the same arrays, several times in a row
MOST_BYTES = 1 << 25
"""Bytes of the arrays of a large case. Exact results and bounds in higher precision take ten times as much."""

LINEAR = ("dot", "sum", "add", "transpose", "matmul", "linear", "relu")
TOTALS = ("dot", "sum", "mse")
SPIKES = 32  # Terms of a large total that are large

LARGEST = {**dict.fromkeys((1, 2, 4), 1 << 28), 8: 1 << 24}
"""Operations, or bytes, of the largest case, by the bytes of an element: the exact result of doubles takes long
doubles, and longer. Five times as much if there are seconds for it."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One call: its inputs as they lie in memory, and what is right.

    views   the inputs' arrays, in their layouts; memory  for each the bytes from its first element to its last
    scalars the numbers that kernels get next to the arrays; options  those of the public signature, by name
    kind    one of verify.KINDS
    exact   of timed calls only of the right shape: timed.whole
    at_end  whether arrays end where memory ends, or begin where it begins
    before  the probe before this one, from which it differs in a few elements
    """

    case: Case
    arguments: Arguments
    views: Arrays
    memory: Arrays
    scalars: tuple[Any, ...]
    options: dict[str, Any]
    exact: Arrays
    bound: Arrays
    kind: str
    at_end: bool
    before: Probe | None = None

    def __str__(self) -> str:
        return str(self.case)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.case.dtype

    @property
    def of_results(self) -> np.dtype[Any]:
        """The results' dtype."""
        return self.case.operation.contract.result_dtype(self.dtype, **self.arguments.options)

    @property
    def shape(self) -> dict[str, int]:
        """The lengths of the axes."""
        return dict(self.case.sizes)

    def renewed(self, *, at_end: bool | None = None) -> Probe:
        """The same call with other values."""
        return probe_of(self.case, self.kind, at_end=self.at_end if at_end is None else at_end)

    def exchanged(self, rng: np.random.Generator) -> Probe:
        """The same call with two elements of each input exchanged, which are neither the first nor the last: a kernel
        that knows its inputs by some elements, or by their sum, takes them for the same."""
        arrays = [np.array(x) for x in arrays_in(self.arguments.inputs)]
        for flat in (x.reshape(-1) for x in arrays if x.dtype == self.dtype and x.size > 3):
            i, j = rng.choice(flat.size - 2, 2, replace=False) + 1
            flat[[i, j]] = flat[[j, i]]
        changed = Arguments(with_arrays(self.arguments.inputs, arrays), self.arguments.options)
        unknown = self.exact if self.exact is self.bound else None
        made = probe_of(self.case, self.kind, at_end=self.at_end, arguments=changed, unknown=unknown)
        return dataclasses.replace(made, before=self)


def probe_of(
    case: Case,
    kind: str = "sizes",
    *,
    at_end: bool = True,
    arguments: Arguments | None = None,
    unknown: Arrays | None = None,
) -> Probe:
    """A probe of these values, or of values that were never there before, laid out in memory as the case says.

    unknown  arrays of the results' shapes, if the exact results are not to be computed
    """
    contract, arguments = case.operation.contract, arguments or _values(case, kind, np.random.default_rng())
    laid_out = lay_out(arguments, case.layouts, contract.updates)
    views = tuple(view for _, view in laid_out)
    placed = Arguments(with_arrays(arguments.inputs, views), arguments.options)
    exact, bound = (unknown, unknown) if unknown else likely_answer(case.operation, placed)
    memory = tuple(_span(base, view) for base, view in laid_out)
    numbers, public = scalars(case.operation, placed), options(case.operation, placed)
    return Probe(case, placed, views, memory, numbers, public, exact, bound, kind, at_end)


def likely_answer(operation: Operation, arguments: Arguments) -> tuple[Arrays, Arrays]:
    """The exact results of a call and their bounds, by likely errors."""
    with likely_errors():
        return exact_and_bound(operation.contract, arguments.inputs, arguments.options)


def _values(case: Case, kind: str, rng: np.random.Generator) -> Arguments:
    """Values that were never there before.

    Of the kind "magnitudes" each input is multiplied by a power of two, which is small where the operation is not
    linear. A large total has a few terms, anywhere, without which it is wrong: the others nearly cancel."""
    drawn, name = case.arguments(rng), case.operation.name
    arrays = [np.array(x) for x in arrays_in(drawn.inputs)]
    floats = [x for x in arrays if is_float(x.dtype)]
    if kind == "magnitudes":
        for x in floats:
            power = (
                float(rng.integers(16, 30)) * rng.choice((-1, 1)) if name in LINEAR else -float(rng.integers(16, 20))
            )
            x *= x.dtype.type(2 ** (power / 5 if x.dtype == np.float16 else power))  # float16 ends at 65504
    elif name in TOTALS and kind in ("large", "timed") and floats[0].size > 64 * SPIKES:
        flat = floats[0].reshape(-1)
        flat[rng.integers(0, flat.size, SPIKES)] *= flat.dtype.type(flat.size / 64)
    return Arguments(with_arrays(drawn.inputs, arrays), drawn.options)


def _span(base: np.ndarray[Any, Any], view: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of memory between a view's first element and its last."""
    if not view.size:
        return np.empty(0, np.uint8)
    low, high = np.lib.array_utils.byte_bounds(view)
    start = base.__array_interface__["data"][0]
    return base.reshape(-1).view(np.uint8)[low - start : high - start]


# --- which cases a kernel is judged by


def cases(
    kind: str, operation: Operation, dtype: np.dtype[Any], rng: np.random.Generator, *, variations: Set[str]
) -> Iterator[tuple[Case, bool]]:
    """The cases of a kind, each in these variations too, with whether arrays end where memory ends; and then those of
    sizes that are drawn."""
    rung = next(iter(operation))
    chosen: Iterable[Case]
    ends: tuple[bool, ...] = (True,)
    if kind == "sizes":
        chosen, ends = sorted(size_cases(rung, dtype), key=Case.work), (True, False)
        chosen = [*(Case.of(operation, dtype, lengths) for lengths in FIRST), *chosen]
    elif kind == "again":
        chosen, ends = (Case.of(operation, dtype, (n,)) for n in REPEATED), (True,) * 5
    elif kind in ("deterministic", "threads"):
        chosen = [Case.of(operation, dtype, (n,)) for n in (33, 65)]
    elif kind == "magnitudes":
        chosen = [Case.of(operation, dtype, lengths) for lengths in ((1, 3, 2), *FIRST)]
    elif kind == "special":
        rows = (Case.of(operation, dtype, (9, n, 33, 5), special=np.nan, where=(0, n)) for n in RESTS)
        chosen = [*special_cases(rung, dtype), *(rows if 0 in float_inputs(operation, dtype) else ())]
    else:
        chosen = layout_cases(rung, dtype)
    for case in varied(chosen) if kind in ("sizes", "layouts", "special") else chosen:
        if not case.give_out and (case.variation is None or case.variation in variations):
            yield from ((case, at_end) for at_end in ends)
    for n in NEAR if kind != "threads" else ():
        for case in drawn_cases(kind, near_case(n, operation, dtype, rng), rng, variations=variations):
            yield from ((case, at_end) for at_end in ends)


def near_case(n: int, operation: Operation, dtype: np.dtype[Any], rng: np.random.Generator) -> Case:
    """A case whose lengths are drawn from n - 1 to 3/2 n; where that is too much work, not all of them."""
    lengths = rng.integers(n - 1, n + n // 2, len(operation.contract.workloads[0].shape))
    kept = rng.integers(len(lengths))
    while (case := Case.of(operation, dtype, lengths.tolist())).work() > NEAR_WORK[dtype.itemsize]:
        others = np.where(np.arange(len(lengths)) == kept, 0, lengths)
        lengths[np.argmax(others)] //= 2
    return case


def drawn_cases(kind: str, case: Case, rng: np.random.Generator, *, variations: Set[str]) -> list[Case]:
    """Some cases of a kind, of the sizes of `case`: drawn layouts; special values in drawn elements, NaN in each
    input."""
    forms = (None, *sorted(variations))
    case = dataclasses.replace(case, variation=forms[rng.integers(len(forms))])
    if kind == "layouts":
        names = rng.permutation([name for name in LAYOUTS if name != "in C order"]).tolist()
        return [dataclasses.replace(case, layouts=tuple(layouts)) for layouts in (names[:1], names[1:2], names[2:4])]
    if kind != "special":
        return [case]
    inputs = float_inputs(case.operation, case.dtype)
    others = [(value, inputs[rng.integers(len(inputs))]) for value in (np.inf, -np.inf, 1e3, -1e3) if inputs]
    elements = rng.integers(1 << 40, size=len(inputs) + len(others)).tolist()
    return [
        dataclasses.replace(case, special=value, where=(number, element), zeros=bool(rng.integers(2)))
        for (value, number), element in zip([*((np.nan, i) for i in inputs), *others], elements, strict=True)
    ]


def large_case(work: int, operation: Operation, dtype: np.dtype[Any]) -> Case:
    """A case of this work, or of less if its arrays would have more bytes than the judge can look at in a moment."""
    case = Case.of_work(work, operation, dtype)
    nbytes = operation.contract.traffic(dtype.itemsize, **dict(case.sizes))
    return case if nbytes <= MOST_BYTES else Case.of_work(work * MOST_BYTES / nbytes, operation, dtype)
