"""torch's compiled rungs: the C++ that Inductor wrote, and the machine code that torch made of it.

    workload  of the call; the operation's smallest by default

Eager rungs call torch's routines and have their own source alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from ..operation import Implementation, Workload
from . import Request, run_once, workload_of
from .elf import HELPERS, assembly, object_file
from .families import this_family
from .loops import heat, hot_loop
from .records import InspectError, Line, Listing
from .source import source_listing

SHOWS = ("source", "hot", "asm")


def show(request: Request) -> list[Listing]:
    k, source = request.implementation, request.aspect == "source"
    own, compiled = [source_listing(k)] if source else [], k.variant == "compiled"
    if own and (not compiled or not k.available()):
        return own
    if (reason := k.why_unavailable()) is not None:
        raise InspectError(f"{k.id} cannot run here: {reason}")
    workload = workload_of(k, request.options.get("workload") or k.operation.contract.workloads[0].name)
    codes = inductor_code(k, workload, request.dtype) if compiled else []
    if source:
        title = f"Inductor's code, on {workload.name}, {request.dtype}"
        return own + [Listing(title, "python", tuple(map(Line, code.splitlines()))) for code in codes]
    listings = list(_machine_code("".join(codes), request.aspect))
    if not listings:
        raise InspectError(f"{k.id} has no loops of its own: it calls torch's routines")
    return listings


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


def _machine_code(code: str, aspect: str) -> Iterator[Listing]:
    """The hottest function of each shared object that torch compiled of this code's kernels."""
    import torch

    kernels = ["".join(kernel.split()) for kernel in re.findall(r"cpp_pybinding\(.*?'''(.*?)'''", code, re.DOTALL)]
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "nowhere")
        source = path.with_suffix(".cpp")  # torch keeps it in the same folder
        if not name.endswith(".kernel") or path.suffix != ".so" or not source.is_file():
            continue
        text = "".join(source.read_text(encoding="utf-8").split())
        if not any(kernel in text for kernel in kernels):
            continue
        file = object_file(path)
        # The kernel's functions, not those of its binding to Python.
        own = [f for f in file.functions if re.match(r"kernel\b", f.name) or "omp_outlined" in f.name]
        loops = [(function, loop) for function in own if (loop := hot_loop(file.code(function), this_family()))]
        if loops:
            function, loop = max(loops, key=lambda pair: heat(pair[1]))
            helpers = (*HELPERS, str(Path(torch.__file__).parent))
            yield assembly(file, function, loop, f"Inductor's {function.name}", aspect, helpers)
