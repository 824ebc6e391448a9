"""Two rungs' hot loops against each other: what each has of everything that is counted.

>>> import loopnest as ln
>>> from loopnest.inspect.compare import compare
>>> both = compare(ln.matmul["cpp.naive"], ln.matmul["cpp.packed"], isa="v3", measure=False)    # doctest: +SKIP
>>> print(both["flops"].left, both["flops"].right)                                              # doctest: +SKIP
2 192
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..operation import Implementation
from . import inspect
from .records import KINDS, InspectError, Loop, View, to_json


@dataclass(frozen=True)
class Row:
    """One thing that both loops have: how much of it, in an iteration of each."""

    name: str
    left: float | str
    right: float | str


@dataclass(frozen=True)
class Comparison:
    """Two views, each with its hot loop first, and their loops' counts side by side."""

    left: View
    right: View
    rows: tuple[Row, ...]

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no row is called {name!r}; there are {', '.join(row.name for row in self.rows)}")

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = to_json(self)
        return told


def compare(k: Implementation, other: Implementation, **options: Any) -> Comparison:
    """The hot loops of two implementations. The options are those of `inspect`.

    Raises InspectError where one of them has no hot loop to show.
    """
    left, right = inspect(k, "hot", **options), inspect(other, "hot", **options)
    loops = []
    for view in (left, right):
        loop = next((listing.loop for listing in view.listings if listing.loop is not None), None)
        if loop is None:
            raise InspectError(f"{view.impl} has no hot loop to compare")
        loops.append(loop)
    return Comparison(left, right, tuple(rows(loops[0], loops[1], left, right)))


def rows(a: Loop, b: Loop, left: View, right: View) -> list[Row]:
    """What is counted in either of the two."""
    found = [Row("instructions", len(a.instructions), len(b.instructions))]
    kinds = [kind for kind in (*KINDS, "loads", "stores", "spills") if a.counts.get(kind) or b.counts.get(kind)]
    names = {"fma": "FMA", "loads": "all that read memory", "stores": "all that write memory", "spills": "at the stack"}
    found += [Row(names.get(kind, kind), a.counts.get(kind, 0), b.counts.get(kind, 0)) for kind in kinds]
    found += [
        Row("bits of a vector", a.vector_bits or "scalar", b.vector_bits or "scalar"),
        Row("flops", a.flops, b.flops),
        Row("bytes", a.bytes, b.bytes),
        Row("accumulators", a.accumulators, b.accumulators),
        Row("flops an instruction", _ratio(a.flops, len(a.instructions)), _ratio(b.flops, len(b.instructions))),
        Row("flops a byte", _ratio(a.flops, a.bytes), _ratio(b.flops, b.bytes)),
    ]
    if a.bound is not None and b.bound is not None:
        found += [
            Row("cycles at least", _short(a.bound.cycles), _short(b.bound.cycles)),
            Row("bound by", a.bound.name, b.bound.name),
            Row("flops a cycle at most", _ratio(a.flops, a.bound.cycles), _ratio(b.flops, b.bound.cycles)),
        ]
        if a.bound.share is not None and b.bound.share is not None:
            found.append(Row("% of the peak at most", _short(100 * a.bound.share), _short(100 * b.bound.share)))
    if left.measured is not None and right.measured is not None:
        shares = _short(100 * left.measured.share), _short(100 * right.measured.share)
        found.append(Row("% of the limit, measured", *shares))
    return found


def _ratio(above: float, below: float) -> float:
    return _short(above / below) if below else 0.0


def _short(number: float) -> float:
    return float(f"{number:.3g}")
