"""What did the compiler make of it? In comes a rung, or a user's file that was built (own.py); out come its machine
code, the hot loop in it, counted, and the bound of that loop on this processor.

>>> import loopnest as ln
>>> view = ln.inspect(ln.matmul["cpp.packed"], "hot", isa="v3", measure=False)     # doctest: +SKIP
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
from ..arrays import dtype_called
from ..operation import Implementation, Workload
from ..output.rooms import callable_as
from .elf import diagnose
from .records import InspectError, Listing, View
from .tables import report


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
    """The workload of this name, or of these lengths, of the rung's operation; None is the largest. Raises
    InspectError."""
    try:
        return k.operation.workload(name) if name else k.operation.contract.workloads[-1]
    except ValueError as error:
        raise InspectError(str(error)) from None


def run_once(k: Implementation, workload: Workload, dtype: str) -> None:
    """One call on a workload, with random inputs."""
    arguments = k.operation.contract.sample(workload, dtype_called(dtype), np.random.default_rng(0))
    with np.errstate(all="ignore"):
        k.operation.contract.run(k.kernel, *arguments.inputs, **arguments.options)


def inspect(
    k: Implementation,
    *aspects: str,
    dtype: str | None = None,
    isa: str | None = None,
    measure: bool = True,
    **options: Any,
) -> View:
    """Look into an implementation: a View with the listings of each aspect.

    aspects  such as "hot" (`loopnest inspect --help` has them all); none is the first one that the backend has
    dtype    of the inputs; None is the first that the rung takes, "float32" for most
    isa      the level of the machine code; None is the active one
    measure  whether to run a C++ rung, to sample in which loop its time goes. Otherwise, or if it cannot run, the hot
             loop is the one that could be the fastest
    options  of the backend (see its module); `workload` and `calls` of "counters", `step` of "accuracy"

    Raises InspectError, a ValueError, if something cannot be shown: the message says why, and the fix.
    """
    from .common import COMMON

    dtype = dtype or k.dtypes[0]
    if dtype not in k.dtypes:
        raise InspectError(f"dtype is {dtype!r}, expected {' or '.join(map(repr, k.dtypes))} for {k.id}")
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
        listings += provider.show(request) if aspect in own else [COMMON[aspect](request)]
    level = isa or (_core.isa() if k.backend == "cpp" else "")
    return View(k.operation.name, k.id, dtype, level, k.headline, tuple(listings))


__all__ = ["InspectError", "Listing", "Request", "View", "diagnose", "inspect", "report", "workload_of"]

callable_as(inspect, __name__)
