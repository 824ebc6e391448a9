"""torch's rungs: the code that Inductor wrote for the compiled ones, and the library routines that the eager ones run.

    workload  of the call; the operation's smallest by default

source  the rung's Python; then Inductor's code, or, of an eager rung, torch's operators and the routines of MKL and
        oneDNN, which these libraries report themselves
hot     and asm: the machine code of Inductor's C++, from the shared objects that torch loaded
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
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

Routine = tuple[str, str, str]
"""A library ("MKL", "oneDNN", or "ATen" for torch's own operators), its routine, and the library's report on a call."""

VIEWS = re.compile(r"aten::(as_strided|resolve_|lift_fresh|detach|view|to|expand|slice|select|reshape|_unsafe_view|t|"
                   r"transpose|alias)")  # fmt: skip
"""Operators that move no element."""


def show(request: Request) -> list[Listing]:
    k, source = request.implementation, request.aspect == "source"
    if (reason := k.why_unavailable()) is not None:
        if source:
            return [source_listing(k)]
        raise InspectError(f"{k.id} cannot run here: {reason}")
    workload = workload_of(k, request.options.get("workload") or k.operation.contract.workloads[0].name)
    if k.variant != "compiled" and source:
        return [source_listing(k), _routines(k, workload, request.dtype)]
    listings = []
    if k.variant == "compiled":
        codes = inductor_code(k, workload, request.dtype)
        if source:
            title = f"Inductor's code, on {workload.name}, {request.dtype}"
            return [source_listing(k), *(Listing(title, "python", tuple(map(Line, c.splitlines()))) for c in codes)]
        listings = list(_machine_code("".join(codes), request.aspect))
    if not listings:
        more = f"`loopnest inspect {k.operation.name} {k.id} --source`"
        raise InspectError(f"{k.id} has no loops of its own: it calls torch's routines. {more} names them")
    return listings


# --- eager rungs: whose routines run


def routines_of(k: Implementation, workload: str, dtype: str) -> tuple[Counter[Routine], dict[str, str]]:
    """The routines that one call of a torch rung runs, in order, and the versions of the libraries.

    It runs in a process of its own, `report`: MKL and oneDNN report only if asked when they are loaded.
    """
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1", "DNNL_VERBOSE": "1"}
    program = f"from {__name__} import report; report(*{(k.operation.name, k.id, workload, dtype)!r})"
    command = [sys.executable, "-c", program]
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise InspectError(f"{k.id}: torch did not end within 300 s") from None
    if ran.returncode:
        raise InspectError(f"{k.id}: torch failed: {(ran.stderr.strip().splitlines() or ['no message'])[-1]}")
    return read_reports(ran.stdout)


def report(operation: str, impl: str, workload: str, dtype: str) -> None:
    """Run a rung once. MKL and oneDNN print a line for each routine; torch's operators are printed as JSON."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from ..operations import OPERATIONS

    k = OPERATIONS[operation][impl]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run_once(k, workload_of(k, workload), dtype)
    operators = [(e.key, e.count) for e in profiled.key_averages() if e.key.startswith(("aten::", "mkldnn", "onednn"))]
    config = [line.strip(" -\n") for line in torch.__config__.show().splitlines()]
    libraries = [line for line in config if line.startswith(("Intel(R)", "OpenMP", "CPU capability", "ATen"))]
    print("\nloopnest: " + json.dumps({"operators": operators, "torch": torch.__version__, "libraries": libraries}))


def read_reports(text: str) -> tuple[Counter[Routine], dict[str, str]]:
    """What `report` and the libraries printed.

    >>> line = "MKL_VERBOSE SGEMM(N,N,256,128,64,0x1,0x2,256,0x3,64,0x4,0x5,256) 13.01ms CNR:OFF NThr:2"
    >>> read_reports(line)[0]
    Counter({('MKL', 'SGEMM', 'N, N, 256, 128, 64, 2 threads'): 1})
    """
    calls: Counter[Routine] = Counter()
    versions: dict[str, str] = {}
    for line in text.splitlines():
        if mkl := re.match(r"MKL_VERBOSE (\w+)\(([^)]*)\).*NThr:(\d+)", line):
            sizes = [word for word in mkl[2].split(",") if not word.startswith("0x")]
            # After a product's sizes come leading dimensions, which the sizes imply here.
            calls["MKL", mkl[1], ", ".join([*sizes[: 5 if "GEMM" in mkl[1] else None], f"{mkl[3]} threads"])] += 1
        elif line.startswith("onednn_verbose") and ",exec," in line:
            fields = line[line.index(",exec,") :].split(",")[2:]
            calls["oneDNN", fields[1], f"{fields[2]}, {fields[-2]}"] += 1
        elif line.startswith("loopnest: "):
            found = json.loads(line.removeprefix("loopnest: "))
            calls.update({("ATen", name, ""): times for name, times in found["operators"] if not VIEWS.match(name)})
            versions = {"torch": found["torch"], "libraries": "; ".join(found["libraries"])}
    return calls, versions


def _routines(k: Implementation, workload: Workload, dtype: str) -> Listing:
    routines, versions = routines_of(k, workload.name, dtype)
    lines = tuple(
        Line(f"{library:7} {name:28} {'once' if calls == 1 else f'{calls} times':10} {detail}".rstrip())
        for (library, name, detail), calls in routines.items()
    )
    notes = []
    if all(library == "ATen" for library, *_ in routines):
        notes.append("Neither MKL nor oneDNN ran: the loops are torch's own (ATen), compiled for several ISA levels.")
    elif any(library == "MKL" for library, *_ in routines):
        notes.append("torch's matrices are row-major and MKL's are not: products are called with the operands swapped.")
    return Listing(f"what {k.id} runs, on {workload.name}, {dtype}", "text", lines, notes=tuple(notes), facts=versions)


# --- compiled rungs: Inductor's code


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
            comment = file.elf.get_section_by_name(".comment")
            compiler = comment.data().strip(b"\0").split(b"\0")[0].decode() if comment is not None else "unknown"
            title = f"Inductor's {function.name}"
            yield assembly(file, function, loop, title, aspect, helpers, facts={"compiler": compiler})
