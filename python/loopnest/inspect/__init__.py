"""Looking into a rung: its machine code, the hot loop in it, and what bounds that.

>>> import loopnest as ln
>>> view = ln.matmul["cpp.packed"].inspect("hot", isa="v3", measure=False)      # doctest: +SKIP
>>> view.listings[0].loop.counts["fma"]                                         # doctest: +SKIP
12

`inspect` asks the rung's backend: the module in_<backend>.py beside this one, which has

    SHOWS                            what it can show, of ASPECTS
    show(request) -> [Listing, …]    for one aspect; raises InspectError with the reason and the fix
    MEASURES                         False where its rungs are not to be timed on this machine; may be left out

The records are in records.py. `functions_of`, `diagnose` and `hot_loop_of_text` are for anybody's machine code.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from .. import _core
from ..operation import Implementation, Workload
from .elf import diagnose, functions_of, hot_loop_of_text
from .loops import hot_loop
from .records import Bound, InspectError, Instruction, Line, Listing, Loop, Measured, View
from .trial import Trial, trial

ASPECTS = {
    "source": "the source, with what became of each line",
    "hot": "the hot loop, counted, and its bound",
    "asm": "the machine code of the function that the hot loop is in",
    "remarks": "what the compiler could not vectorize, and why",
    "mca": "llvm-mca's view of the hot loop",
    "llvm": "optimised LLVM IR",
    "ptx": "PTX, NVIDIA's portable assembly",
    "sass": "SASS, the GPU's machine code",
    "ttir": "Triton's IR",
}
"""What can be asked for, and what that is."""


@dataclass(frozen=True)
class Request:
    """What is wanted of a rung.

    isa      a level of ln.isa_levels(); the one in force where it is None
    trial    the rung ready to run, where it can and measuring was not declined
    options  of one backend alone, such as cc and gpu of cuda's
    """

    implementation: Implementation
    aspect: str
    dtype: str
    isa: str | None
    trial: Trial | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """What a module in_<backend>.py has."""

    SHOWS: tuple[str, ...]

    def show(self, request: Request) -> list[Listing]: ...


def provider_of(backend: str) -> Provider | None:
    """The module that looks into this backend's rungs, where there is one."""
    if importlib.util.find_spec(f"{__name__}.in_{backend}") is None:
        return None
    return cast(Provider, importlib.import_module(f"{__name__}.in_{backend}"))


def source_listing(k: Implementation) -> Listing:
    """A rung's source as it was written."""
    language = {"cpp": "cpp", "cuda_cpp": "cuda"}.get(k.backend, "python")
    lines = tuple(Line(text) for text in k.source().splitlines())
    return Listing(f"the source of {k.id}", language, lines, first=1)  # type: ignore[arg-type]


def workload_of(k: Implementation, name: str | None) -> Workload:
    """The workload of this name of the rung's operation; the largest where it is None. Raises InspectError."""
    workloads = k.operation.contract.workloads
    chosen = workloads[-1] if name is None else next((w for w in workloads if w.name == name), None)
    if chosen is None:
        known = ", ".join(w.name for w in workloads)
        raise InspectError(f"workload is {name!r}, which {k.operation.name} does not have; it has {known}")
    return chosen


def inspect(
    k: Implementation,
    *aspects: str,
    dtype: str = "float32",
    isa: str | None = None,
    measure: bool = True,
    **options: Any,
) -> View:
    """Look into an implementation: a View with a listing, or more, for each of the aspects.

    aspects  of ASPECTS; none is the first that the backend can show
    dtype    "float32" or "float64"
    isa      the level whose machine code is wanted; the one in force where it is None
    measure  whether to run the rung: for the share of the machine's limit that it reaches, and to see in which loop its
             time goes. Otherwise, and where it cannot run, the hot loop is chosen by what it could do
    options  of the backend: see its module

    Raises InspectError, which is a ValueError, where something cannot be shown: the message says why, and the fix.
    """
    if dtype not in ("float32", "float64"):
        raise InspectError(f"dtype is {dtype!r}, expected 'float32' or 'float64'")
    provider = provider_of(k.backend)
    shows = provider.SHOWS if provider is not None else ("source",)
    aspects = aspects or shows[:1]
    measure = measure and getattr(provider, "MEASURES", True)
    run = trial(k, dtype, isa) if measure and not {"hot", "mca", "asm"}.isdisjoint(aspects) else None
    listings: list[Listing] = []
    for aspect in aspects:
        if aspect not in ASPECTS:
            raise InspectError(f"aspect is {aspect!r}, expected one of {', '.join(ASPECTS)}")
        if aspect not in shows:
            raise InspectError(f"{k.id} has no {aspect} to show, but {', '.join(shows)}")
        request = Request(k, aspect, dtype, isa, run, options)
        listings += provider.show(request) if provider is not None else [source_listing(k)]
    measured = run.measured() if run is not None and "hot" in aspects else None
    level = isa or (_core.isa() if k.backend == "cpp" else "")
    return View(k.operation.name, k.id, dtype, level, k.headline, tuple(listings), measured)


__all__ = [
    "ASPECTS",
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
    "functions_of",
    "hot_loop",
    "hot_loop_of_text",
    "inspect",
    "source_listing",
    "workload_of",
]
