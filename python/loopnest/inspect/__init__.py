"""What did the compiler make of it? In comes a rung; out comes a `View`: its machine code, the hot loop in it, counted,
the bound of that loop on this processor, and the share of the machine's limit that the rung reaches.

>>> import loopnest as ln
>>> view = ln.matmul["cpp.packed"].inspect("hot", isa="v3", measure=False)      # doctest: +SKIP
>>> view.listings[0].loop.counts["fma"]                                         # doctest: +SKIP
12

A backend is a module in_<backend>.py with

    SHOWS                            the aspects that it can show
    show(request) -> [Listing, …]    the listings of one aspect; raises InspectError with the reason and the fix
    MEASURES                         False if its rungs are not timed on this machine; may be left out

records.py has the records, elf.py and loops.py read anybody's machine code.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from .. import _core
from ..operation import Implementation, Workload
from .elf import diagnose
from .records import Bound, InspectError, Instruction, Line, Listing, Loop, Measured, View
from .source import source_listing
from .trial import Trial, trial

MEASURED_WITH = ("hot", "mca", "asm")
"""The aspects that need to know where the time goes."""


@dataclass(frozen=True)
class Request:
    """One aspect of one rung.

    isa      a level of ln.isa_levels(); None is the active one
    trial    the rung ready to run, if it can run and measuring was not declined
    options  of one backend alone, such as cc and gpu of cuda's
    """

    implementation: Implementation
    aspect: str
    dtype: str
    isa: str | None
    trial: Trial | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """A module in_<backend>.py."""

    SHOWS: tuple[str, ...]

    def show(self, request: Request) -> list[Listing]: ...


def provider_of(backend: str) -> Provider | None:
    """The module that looks into this backend's rungs, if there is one."""
    if importlib.util.find_spec(f"{__name__}.in_{backend}") is None:
        return None
    return cast(Provider, importlib.import_module(f"{__name__}.in_{backend}"))


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
    measure  whether to run the rung: for the share of the machine's limit that it reaches, and to sample in which loop
             its time goes. Otherwise, or if it cannot run, the hot loop is the one that could be the fastest
    options  of the backend (see its module); `workload` and `calls` of "counters", `step` of "accuracy"

    Raises InspectError, a ValueError, if something cannot be shown: the message says why, and the fix.
    """
    if dtype not in ("float32", "float64"):
        raise InspectError(f"dtype is {dtype!r}, expected 'float32' or 'float64'")
    provider = provider_of(k.backend)
    shows = (*(provider.SHOWS if provider is not None else ("source",)), "counters", "accuracy")
    aspects = aspects or shows[:1]
    measure = measure and getattr(provider, "MEASURES", True)
    run = trial(k, dtype, isa) if measure and set(aspects) & set(MEASURED_WITH) else None
    listings: list[Listing] = []
    for aspect in aspects:
        if aspect not in shows:
            raise InspectError(f"{k.id} has no {aspect} to show, but {', '.join(shows)}")
        request = Request(k, aspect, dtype, isa, run, options)
        listings += _common(request) if aspect in shows[-2:] or provider is None else provider.show(request)
    measured = run.measured() if run is not None and "hot" in aspects else None
    level = isa or (_core.isa() if k.backend == "cpp" else "")
    return View(k.operation.name, k.id, dtype, level, k.headline, tuple(listings), measured)


def _common(request: Request) -> list[Listing]:
    """The aspects that do not depend on the backend."""
    if request.aspect == "source":
        return [source_listing(request.implementation)]
    module = importlib.import_module(f"{__name__}.{request.aspect}")
    return [module.listing(request)]


__all__ = [
    "Bound",
    "InspectError",
    "Instruction",
    "Line",
    "Listing",
    "Loop",
    "Measured",
    "Request",
    "View",
    "diagnose",
    "inspect",
    "workload_of",
]
