"""torch's compiled rungs: the code that Inductor wrote. Eager rungs call torch's routines and have their source alone.

workload  of the call; the operation's smallest by default
"""

from __future__ import annotations

import re
from unittest import mock

from ..operation import Implementation, Workload
from . import Request, run_once, workload_of
from .records import InspectError, Line, Listing
from .source import source_listing

SHOWS = ("source",)


def show(request: Request) -> list[Listing]:
    k = request.implementation
    if k.variant != "compiled" or not k.available():
        return [source_listing(k)]
    workload = workload_of(k, request.options.get("workload") or k.operation.contract.workloads[0].name)
    title = f"Inductor's code, on {workload.name}, {request.dtype}"
    codes = inductor_code(k, workload, request.dtype)
    return [source_listing(k), *(Listing(title, "python", tuple(map(Line, code.splitlines()))) for code in codes)]


def inductor_code(k: Implementation, workload: Workload, dtype: str) -> list[str]:
    """What Inductor wrote for a call of a compiled rung: kernels in C++, and the Python function that calls them.

    Imports, and code that measures the file by itself, are left out. Raises InspectError if nothing was compiled.
    """
    from torch._inductor.graph import GraphLowering

    from ..backends import torch as tensors

    codes: dict[str, None] = {}
    with (
        mock.patch.object(GraphLowering, "save_output_code", lambda code: codes.setdefault(code)),
        mock.patch.object(tensors, "_compiled", {}),  # so that it is translated now
    ):
        run_once(k, workload, dtype)
    if not codes:
        raise InspectError(f"{k.id}: torch compiled nothing for {workload.name}")
    own = re.compile(r"^(\w+ = async_compile\.cpp_pybinding|async_compile\.wait|class Runner|def call)", re.MULTILINE)
    starts = ((code, own.search(code)) for code in codes)
    return [code[found.start() if found else 0 :].partition("\ndef benchmark_compiled_module")[0]
            for code, found in starts]  # fmt: skip
