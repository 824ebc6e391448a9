"""The aspects that do not depend on the backend: a rung's source, the processor's counts, the largest error."""

from __future__ import annotations

from collections.abc import Callable

from .. import _core
from ..backends import SIMULATED
from ..layout.counters import count, report
from ..operation import UnavailableError
from ..verify import accuracy
from . import Request, workload_of
from .records import InspectError, Line, Listing
from .samples import call_of, largest_quick
from .source import source_listing

STEP = 4099
"""A million numbers, of all magnitudes: some seconds."""


def counters(request: Request) -> Listing:
    """What the processor counts while a rung runs: cycles, instructions, cache misses.

    workload  of the call; by default the largest that is quick
    calls     how many calls are counted, after one that is not; 5

    Threads that exist already, such as the pools of NumPy's BLAS and of loopnest, are not counted: set_num_threads(1).
    """
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


def errors(request: Request) -> Listing:
    """The largest error of a C++ elementwise function over float32 numbers: all of them, or a strided sample.

    step  every step-th of the 2^32 numbers; 1 is all of them, which takes minutes

    An ULP is the distance of float32's neighbours around the exact result: a correctly rounded result is off by at most
    0.5. A gradient's error is in ULP of the sum of the magnitudes of its terms. See verify/accuracy.py.
    """
    k, step = request.implementation, request.options.get("step") or STEP
    if k.backend != "cpp":
        raise InspectError(f"accuracy is measured of C++ rungs, and {k.id} is none; try cpp.simd")
    # softmax is measured by the exponential that it is made of.
    name = "exp" if k.operation.name == "softmax" else k.operation.name
    before = _core.isa()
    lines = ["function            isa   largest error       at    above 0.5        1         2 ULP"]
    try:
        _core.set_isa(request.isa or before)
        for function in accuracy.functions(name, k.variant):
            found = accuracy.measure(function, step=step, variant=k.variant)
            shares = "".join(f"{share:10.3%}" if share else f"{'0':>10}" for share in found.above.values())
            lines.append(f"{function:19} {found.isa:4} {found.largest:8.3f} ULP {found.at:14.7g} {shares}")
    except ValueError as error:
        raise InspectError(str(error)) from None
    finally:
        _core.set_isa(before)
    numbers = "all float32 numbers" if step == 1 else f"every {step:,}th float32 number"
    return Listing(f"errors of {k.id}, {numbers}", "text", tuple(map(Line, lines)))


COMMON: dict[str, Callable[[Request], Listing]] = {
    "source": lambda request: source_listing(request.implementation),
    "counters": counters,
    "accuracy": errors,
}
