"""The hot loops of two rungs, count by count.

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
from .records import KINDS, InspectError, Loop, View


@dataclass(frozen=True)
class Row:
    """One count, for an iteration of each loop."""

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


def compare(k: Implementation, other: Implementation, **options: Any) -> Comparison:
    """The hot loops of two implementations. The options are those of `inspect`.

    Raises InspectError if one of them has no hot loop.
    """
    columns = []
    views = inspect(k, "hot", **options), inspect(other, "hot", **options)
    for view in views:
        loop = next((listing.loop for listing in view.listings if listing.loop is not None), None)
        if loop is None:
            raise InspectError(f"{view.impl} has no hot loop to compare")
        columns.append(_counts(loop, view))
    left, right = columns
    names = [name for name in left | right if left.get(name) or right.get(name)]
    both = [name for name in names if name not in ONLY_IN_BOTH or (name in left and name in right)]
    return Comparison(*views, tuple(Row(name, left.get(name, 0), right.get(name, 0)) for name in both))


ONLY_IN_BOTH = (
    "cycles at least",
    "bound by",
    "flops a cycle at most",
    "% of the peak at most",
    "% of the limit, measured",
)


def _counts(loop: Loop, view: View) -> dict[str, float | str]:
    """All counts of a loop by name, in the order in which they are shown."""
    names = {"fma": "FMA", "loads": "all that read memory", "stores": "all that write memory", "spills": "at the stack"}
    counts = {names.get(kind, kind): loop.counts.get(kind, 0) for kind in (*KINDS, "loads", "stores", "spills")}
    found: dict[str, float | str] = {"instructions": len(loop.instructions), **counts}
    found |= {
        "bits of a vector": loop.vector_bits or "scalar",
        "flops": loop.flops,
        "bytes": loop.bytes,
        "accumulators": loop.accumulators,
        "flops an instruction": _short(loop.flops / len(loop.instructions)),
        "flops a byte": _short(loop.flops / max(loop.bytes, 1)),
    }
    if loop.bound is not None:
        found |= {
            "cycles at least": _short(loop.bound.cycles),
            "bound by": loop.bound.name,
            "flops a cycle at most": _short(loop.flops / loop.bound.cycles) if loop.bound.cycles else 0.0,
        }
        if loop.bound.share is not None:
            found["% of the peak at most"] = _short(100 * loop.bound.share)
    if view.measured is not None:
        found["% of the limit, measured"] = _short(100 * view.measured.share)
    return found


def _short(number: float) -> float:
    return float(f"{number:.3g}")
