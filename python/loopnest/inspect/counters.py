"""What the processor counts while a rung runs: cycles, instructions, cache misses.

workload  of the call; by default one that takes a while
calls     how many calls are counted, after one that is not; 5

Threads that exist already, such as the pools of NumPy's BLAS and of loopnest, are not counted: set_num_threads(1).
"""

from __future__ import annotations

from ..backends import SIMULATED
from ..layout.counters import count, report
from ..operation import Contract, UnavailableError, Workload
from ..timing.budget import by_work
from . import Request
from .records import InspectError, Line, Listing
from .trial import call_of

LONG_ENOUGH = 65_536
"""Elements that a call of the default workload reads and writes, at least, where the operation has such a workload."""


def listing(request: Request) -> Listing:
    k, calls = request.implementation, request.options.get("calls") or 5
    if k.simulated():
        raise InspectError(f"{k.id} is {SIMULATED}")
    workload = _workload(k.operation.contract, request.options.get("workload"))
    try:
        call, _ = call_of(k, workload, "float32")
    except UnavailableError as error:
        raise InspectError(str(error)) from None
    lines = tuple(Line(line) for text in report(count(call, calls=calls), calls) for line in text.splitlines())
    return Listing(f"counters of {k.id} on {workload.name}, a call's share of {calls}", "text", lines)


def _workload(contract: Contract, name: str | None) -> Workload:
    workloads = {workload.name: workload for workload in by_work(contract)}
    if name is None:
        long = [w for w in workloads.values() if contract.traffic(1, **w.shape) >= LONG_ENOUGH]
        return (long or list(workloads.values())[-1:])[0]
    if name not in workloads:
        raise InspectError(f"no workload is called {name!r}; there are {', '.join(workloads)}")
    return workloads[name]
