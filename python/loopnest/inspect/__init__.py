"""What did the compiler make of it? In comes a rung; out comes a `View`: its machine code, the hot loop in it, counted,
and the bound of that loop on this processor.

>>> import loopnest as ln
>>> view = ln.matmul["cpp.packed"].inspect("hot", isa="v3", measure=False)      # doctest: +SKIP
>>> view.listings[0].loop.counts["fma"]                                         # doctest: +SKIP
12

A backend with machine code is a module in_<backend>.py with SHOWS, its aspects, and show(request), the listings of one
aspect. elf.py and loops.py read anybody's machine code.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core
from ..operation import Implementation, Workload
from .elf import diagnose
from .records import KINDS, InspectError, Listing, View
from .source import source_listing

COMMON = ("source", "counters", "accuracy")
"""The aspects that do not depend on the backend."""


@dataclass(frozen=True)
class Request:
    """One aspect of one rung.

    isa      a level of ln.isa_levels(); None is the active one
    measure  whether the rung may run, to sample where its time goes
    options  of one backend or aspect alone, such as gpu of cuda's
    """

    implementation: Implementation
    aspect: str
    dtype: str = "float32"
    isa: str | None = None
    measure: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def provider_of(backend: str) -> Any:
    """The module that looks into this backend's rungs; None if there is none."""
    name = f"{__name__}.in_{backend}"
    return importlib.import_module(name) if importlib.util.find_spec(name) is not None else None


def workload_of(k: Implementation, name: str | None) -> Workload:
    """The workload with this name of the rung's operation; None is the largest. Raises InspectError."""
    workloads = k.operation.contract.workloads
    chosen = workloads[-1] if name is None else next((w for w in workloads if w.name == name), None)
    if chosen is None:
        known = ", ".join(w.name for w in workloads)
        raise InspectError(f"workload is {name!r}, which {k.operation.name} does not have; it has {known}")
    return chosen


def run_once(k: Implementation, workload: Workload, dtype: str) -> None:
    """One call on a workload, with random inputs."""
    arguments = k.operation.contract.sample(workload, np.dtype(dtype), np.random.default_rng(0))
    with np.errstate(all="ignore"):
        k.operation.contract.run(k.kernel, *arguments.inputs, **arguments.options)


def inspect(
    k: Implementation,
    *aspects: str,
    dtype: str = "float32",
    isa: str | None = None,
    measure: bool = True,
    **options: Any,
) -> View:
    """Look into an implementation: a View with the listings of each aspect.

    aspects  such as "hot" (`loopnest inspect --help` has them all); none is the first one that the backend has
    dtype    "float32" or "float64"
    isa      the level of the machine code; None is the active one
    measure  whether to run a C++ rung, to sample in which loop its time goes. Otherwise, or if it cannot run, the hot
             loop is the one that could be the fastest
    options  of the backend (see its module); `workload` and `calls` of "counters", `step` of "accuracy"

    Raises InspectError, a ValueError, if something cannot be shown: the message says why, and the fix.
    """
    if dtype not in ("float32", "float64"):
        raise InspectError(f"dtype is {dtype!r}, expected 'float32' or 'float64'")
    if isa is not None and k.backend != "cpp":
        raise InspectError(f"isa is {isa!r}, and only C++ rungs have ISA levels; {k.id} is none")
    provider = provider_of(k.backend)
    own: tuple[str, ...] = provider.SHOWS if provider is not None else ()
    shows = tuple(dict.fromkeys((*own, *COMMON)))
    aspects = aspects or shows[:1]
    if unknown := [aspect for aspect in aspects if aspect not in shows]:
        raise InspectError(f"{k.id} has no {unknown[0]} to show, but {', '.join(shows)}")
    listings: list[Listing] = []
    for aspect in aspects:
        request = Request(k, aspect, dtype, isa, measure, options)
        if aspect in own:
            listings += provider.show(request)
        elif aspect == "source":
            listings.append(source_listing(k))
        else:
            listings.append(importlib.import_module(f"{__name__}.{aspect}").listing(request))
    level = isa or (_core.isa() if k.backend == "cpp" else "")
    return View(k.operation.name, k.id, dtype, level, k.headline, tuple(listings))


@dataclass(frozen=True)
class Comparison:
    """Two views of hot loops, and what an iteration of each has: the counts by name, left and right."""

    left: View
    right: View
    counts: Mapping[str, tuple[float | str, float | str]]


def compare(k: Implementation, other: Implementation, **options: Any) -> Comparison:
    """The hot loops of two implementations, count by count. It takes the options of `inspect`.

    >>> import loopnest as ln
    >>> both = compare(ln.matmul["cpp.naive"], ln.matmul["cpp.packed"], isa="v3", measure=False)    # doctest: +SKIP
    >>> both.counts["flops"]                                                                        # doctest: +SKIP
    (2, 192)

    Raises InspectError if one of them has no hot loop.
    """
    views = inspect(k, "hot", **options), inspect(other, "hot", **options)
    left, right = map(_counts, views)
    names = [name for name in left if name in right and (left[name] or right[name])]
    return Comparison(*views, {name: (left[name], right[name]) for name in names})


def _counts(view: View) -> dict[str, float | str]:
    """All counts of a view's hot loop by name, in the order of the table."""
    loop = view.listings[0].loop
    if loop is None:
        raise InspectError(f"{view.impl} has no hot loop to compare")
    names = {"fma": "FMA", "loads": "all that read memory", "stores": "all that write memory", "spills": "at the stack"}
    found: dict[str, float | str] = {"instructions": len(loop.instructions)}
    found |= {names.get(kind, kind): loop.counts.get(kind, 0) for kind in (*KINDS, "loads", "stores", "spills")}
    found |= {"bits of a vector": loop.vector_bits or "scalar", "flops": loop.flops, "bytes": loop.bytes}
    found |= {"accumulators": loop.accumulators, "flops a byte": float(f"{loop.flops / max(loop.bytes, 1):.3g}")}
    if (bound := loop.bound) is not None:
        found |= {"cycles at least": float(f"{bound.cycles:.3g}"), "bound by": bound.name}
        found |= {"% of the peak at most": float(f"{100 * bound.share:.3g}")} if bound.share is not None else {}
    return found


__all__ = [
    "Comparison",
    "InspectError",
    "Listing",
    "Request",
    "View",
    "compare",
    "diagnose",
    "inspect",
    "workload_of",
]
