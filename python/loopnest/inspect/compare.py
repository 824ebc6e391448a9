"""The hot loops of two rungs, count by count.

>>> import loopnest as ln
>>> from loopnest.inspect.compare import compare
>>> both = compare(ln.matmul["cpp.naive"], ln.matmul["cpp.packed"], isa="v3", measure=False)    # doctest: +SKIP
>>> both.counts["flops"]                                                                        # doctest: +SKIP
(2, 192)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..operation import Implementation
from . import inspect
from .records import KINDS, InspectError, View

Count = float | str


@dataclass(frozen=True)
class Comparison:
    """Two views of hot loops, and what an iteration of each has: the counts by name, left and right."""

    left: View
    right: View
    counts: Mapping[str, tuple[Count, Count]]


def compare(k: Implementation, other: Implementation, **options: Any) -> Comparison:
    """The hot loops of two implementations. The options are those of `inspect`.

    Raises InspectError if one of them has no hot loop.
    """
    views = inspect(k, "hot", **options), inspect(other, "hot", **options)
    left, right = map(_counts, views)
    names = [name for name in left if name in right and (left[name] or right[name])]
    return Comparison(*views, {name: (left[name], right[name]) for name in names})


def _counts(view: View) -> dict[str, Count]:
    """All counts of a view's hot loop by name, in the order of the table."""
    loop = view.listings[0].loop
    if loop is None:
        raise InspectError(f"{view.impl} has no hot loop to compare")
    names = {"fma": "FMA", "loads": "all that read memory", "stores": "all that write memory", "spills": "at the stack"}
    found: dict[str, Count] = {"instructions": len(loop.instructions)}
    found |= {names.get(kind, kind): loop.counts.get(kind, 0) for kind in (*KINDS, "loads", "stores", "spills")}
    found |= {"bits of a vector": loop.vector_bits or "scalar", "flops": loop.flops, "bytes": loop.bytes}
    found |= {"accumulators": loop.accumulators, "flops a byte": float(f"{loop.flops / max(loop.bytes, 1):.3g}")}
    if (bound := loop.bound) is not None:
        found |= {"cycles at least": float(f"{bound.cycles:.3g}"), "bound by": bound.name}
        found |= {"% of the peak at most": float(f"{100 * bound.share:.3g}")} if bound.share is not None else {}
    return found
