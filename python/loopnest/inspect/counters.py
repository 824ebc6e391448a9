"""What the processor counts while a rung runs: cycles, instructions, cache misses.

workload  of the call; by default one that takes a while
calls     how many calls are counted; 5
"""

from __future__ import annotations

from ..layout.counters import count_implementation, default_workload, report
from ..operation import UnavailableError
from . import Request
from .records import InspectError, Line, Listing


def listing(request: Request) -> Listing:
    k = request.implementation
    name = request.options.get("workload") or default_workload(k.operation)
    calls = request.options.get("calls") or 5
    try:
        counted = count_implementation(k, name, calls=calls)
    except (UnavailableError, ValueError) as error:
        raise InspectError(str(error)) from None
    lines = tuple(Line(line) for text in report(counted) for line in text.splitlines())
    return Listing(f"counters of {k.id} on {name}, a call's share of {calls}", "text", lines)
