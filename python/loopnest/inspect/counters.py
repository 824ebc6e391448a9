"""What the processor counts while a rung runs: cycles, instructions, cache misses.

    workload  of the call; by default the largest that is quick
    calls     how many calls are counted, after one that is not; 5

Threads that exist already, such as the pools of NumPy's BLAS and of loopnest, are not counted: set_num_threads(1).
"""

from __future__ import annotations

from ..backends import SIMULATED
from ..layout.counters import count, report
from ..operation import UnavailableError
from . import Request, workload_of
from .records import InspectError, Line, Listing
from .samples import call_of, largest_quick


def listing(request: Request) -> Listing:
    k, calls = request.implementation, request.options.get("calls") or 5
    if k.simulated():
        raise InspectError(f"{k.id} is {SIMULATED}")
    name = request.options.get("workload")
    try:
        workload = workload_of(k, name) if name else largest_quick(k)
        call = call_of(k, workload)
    except UnavailableError as error:
        raise InspectError(str(error)) from None
    lines = tuple(Line(line) for text in report(count(call, calls=calls), calls) for line in text.splitlines())
    return Listing(f"counters of {k.id} on {workload.name}, a call's share of {calls}", "text", lines)
