"""The largest error of a C++ elementwise function over float32 numbers: all of them, or a strided sample.

    step  every step-th of the 2^32 numbers; 1 is all of them, which takes minutes

An ULP is the distance of float32's neighbours around the exact result: a correctly rounded result is off by at most
0.5. A gradient's error is in ULP of the sum of the magnitudes of its terms. See verify/accuracy.py.
"""

from __future__ import annotations

from .. import _core
from ..verify import accuracy
from . import Request
from .records import InspectError, Line, Listing

STEP = 4099
"""A million numbers, of all magnitudes: some seconds."""


def listing(request: Request) -> Listing:
    k, step = request.implementation, request.options.get("step") or STEP
    if k.backend != "cpp":
        raise InspectError(f"accuracy is measured of C++ rungs, and {k.id} is none; try cpp.simd")
    # softmax is measured by the exponential that it is made of.
    name = "exp" if k.operation.name == "softmax" else k.operation.name
    before = _core.isa()
    lines = ["function            isa   largest error       at    above 0.5        1         2 ULP"]
    try:
        _core.set_isa(request.isa or before)
        for function in accuracy.functions([name], k.variant):
            found = accuracy.measure(function, step=step, variant=k.variant)
            shares = "".join(f"{share:10.3%}" if share else f"{'0':>10}" for share in found.above.values())
            lines.append(f"{function:19} {found.isa:4} {found.largest:8.3f} ULP {found.at:14.7g} {shares}")
    except ValueError as error:
        raise InspectError(str(error)) from None
    finally:
        _core.set_isa(before)
    numbers = "all float32 numbers" if step == 1 else f"every {step:,}th float32 number"
    return Listing(f"errors of {k.id}, {numbers}", "text", tuple(map(Line, lines)))
