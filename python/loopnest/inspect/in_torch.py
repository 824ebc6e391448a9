"""torch's rungs: the code that Inductor wrote for the compiled ones, and the library routines that the eager ones run.

    workload  of the call; the operation's smallest by default

source  the rung's Python; then the C++ that Inductor wrote and the Python that calls it, or, of an eager rung, torch's
        operators and the routines of MKL and oneDNN, which these libraries report themselves
hot     and asm: the machine code of Inductor's C++, from the shared object that torch loaded
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from unittest import mock

from ..operation import Implementation, Workload
from . import Request, run_once, workload_of
from .elf import HELPERS, object_file
from .families import this_family
from .loops import heat, hot_loop
from .records import InspectError, Line, Listing
from .source import source_listing

SHOWS = ("source", "hot", "asm")


def show(request: Request) -> list[Listing]:
    k = request.implementation
    reason = k.why_unavailable()
    if reason is not None:
        if request.aspect == "source":
            return [source_listing(k)]
        raise InspectError(f"{k.id} cannot run here: {reason}")
    workload = workload_of(k, request.options.get("workload") or k.operation.contract.workloads[0].name)
    more = f"`loopnest inspect {k.operation.name} {k.id} --source`"
    if k.variant != "compiled":
        if request.aspect == "source":
            return [source_listing(k), _routines(k, workload, request.dtype)]
        raise InspectError(f"{k.id} has no loops of its own: it calls torch's routines. {more} names them")
    kernels, wrapper = inductor_code(k, workload, request.dtype)
    if request.aspect == "source":
        return [source_listing(k), *kernels, wrapper]
    listings = list(_machine_code(kernels, request.aspect))
    if not listings:
        raise InspectError(f"{k.id} has no loops of its own: Inductor's code calls torch's routines. {more} shows it")
    return listings


# --- eager rungs: whose routines run


Routine = tuple[str, str, str]
"""A library ("MKL", "oneDNN", or "ATen" for torch's own operators), its routine, and the library's report on a call."""


def routines_of(k: Implementation, workload: str, dtype: str) -> tuple[Counter[Routine], dict[str, str]]:
    """The routines that one call of a torch rung runs, in order, and the versions of the libraries.

    It runs in a process of its own: MKL and oneDNN report their routines only if asked when they are loaded.
    """
    environment = {**os.environ, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1", "DNNL_VERBOSE": "1"}
    package = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", f"{__package__}.torch_child", k.operation.name, k.id, workload, dtype]
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        raise InspectError(f"{k.id}: torch did not end within 300 s") from None
    if ran.returncode:
        raise InspectError(f"{k.id}: torch failed: {(ran.stderr.strip().splitlines() or ['no message'])[-1]}")
    return read_reports(ran.stdout)


def read_reports(text: str) -> tuple[Counter[Routine], dict[str, str]]:
    """The child's output: lines of MKL and oneDNN, and torch's operators.

    >>> line = "MKL_VERBOSE SGEMM(N,N,256,128,64,0x1,0x2,256,0x3,64,0x4,0x5,256) 13.01ms CNR:OFF NThr:2"
    >>> read_reports(line)[0]
    Counter({('MKL', 'SGEMM', 'N, N, 256, 128, 64, 2 threads'): 1})
    """
    calls: Counter[Routine] = Counter()
    versions: dict[str, str] = {}
    for line in text.splitlines():
        if mkl := re.match(r"MKL_VERBOSE (\w+)\(([^)]*)\) (.*)", line):
            kept = [word for word in mkl[2].split(",") if not word.startswith("0x")]
            # After the sizes of a product come leading dimensions, which the sizes imply here.
            kept = kept[:5] if "GEMM" in mkl[1] else kept
            threads = re.search(r"NThr:(\d+)", mkl[3])
            kept += [f"{threads[1]} thread{'s' if threads[1] != '1' else ''}"] if threads else []
            calls["MKL", mkl[1], ", ".join(kept)] += 1
        elif line.startswith("onednn_verbose") and ",exec," in line:
            fields = line[line.index(",exec,") :].split(",")[2:]
            if len(fields) > 2:
                calls["oneDNN", fields[1], f"{fields[2]}, {fields[-2]}"] += 1
        elif line.startswith("loopnest: "):
            report = json.loads(line.removeprefix("loopnest: "))
            for name, times in report["operators"]:
                calls["ATen", name, ""] += times
            versions = {"torch": report["torch"], "libraries": "; ".join(report["libraries"])}
    return calls, versions


_BOOKKEEPING = ("as_strided", "resolve_", "lift_fresh", "detach", "view", "to", "expand", "slice", "select", "reshape",
                "_unsafe_view", "t", "transpose", "alias")  # fmt: skip
"""Operators that move no element."""


def _routines(k: Implementation, workload: Workload, dtype: str) -> Listing:
    routines, versions = routines_of(k, workload.name, dtype)
    views = tuple(f"aten::{name}" for name in _BOOKKEEPING)
    lines, libraries = [], set()
    for (library, name, detail), calls in routines.items():
        if not name.startswith(views):
            times = "once" if calls == 1 else f"{calls} times"
            lines.append(Line(f"{library:7} {name:28} {times:10} {detail}".rstrip()))
            libraries.add(library)
    notes = []
    if libraries <= {"ATen"}:
        notes.append("Neither MKL nor oneDNN ran: the loops are torch's own (ATen), compiled for several ISA levels.")
    if "MKL" in libraries:
        notes.append("torch's matrices are row-major and MKL's are not: products are called with the operands swapped.")
    title = f"what {k.id} runs, on {workload.name}, {dtype}"
    return Listing(title, "text", tuple(lines), None, tuple(notes), versions)


# --- compiled rungs: Inductor's code


def inductor_code(k: Implementation, workload: Workload, dtype: str) -> tuple[list[Listing], Listing]:
    """The C++ kernels that Inductor wrote for a call of a compiled rung, and the Python that calls them."""
    written = _written(k, workload, dtype)
    if not written:
        raise InspectError(f"{k.id}: torch compiled nothing for {workload.name}")
    kernels: list[Listing] = []
    around: list[str] = []
    for code in written:
        for piece in re.split(r"(async_compile\.cpp_pybinding\(.*?r?'''.*?'''\))", code, flags=re.DOTALL):
            body = re.search(r"cpp_pybinding\((.*?), r?'''(.*?)'''\)", piece, re.DOTALL)
            if body is None:
                around += piece.splitlines()
                continue
            name = re.search(r"(\w+) = $", around[-1]) if around else None
            title = f"{name[1] if name else 'a kernel'}: C++ by Inductor, {dtype}"
            lines = tuple(Line(line) for line in body[2].strip("\n").splitlines())
            kernels.append(Listing(title, "cpp", lines, first=1))
            if around:
                around[-1] += f"async_compile.cpp_pybinding({body[1]}, …)"
    note = "Imports, and code that measures this file by itself, are left out."
    title = f"the call of these, in Python by Inductor, on {workload.name}"
    return kernels, Listing(title, "python", tuple(map(Line, _calling(around))), None, (note,))


def _calling(lines: Iterable[str]) -> Iterator[str]:
    """In Inductor's Python, the names of the kernels and the function that calls them."""
    depth: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if "async_compile.cpp_pybinding(" in line:
            yield line
        elif line.lstrip().startswith("def call("):
            depth = indent
            yield line[indent:]
        elif depth is not None and (indent > depth or not line.strip()):
            if line.strip():
                yield line[depth:]
        else:
            depth = None


def _written(k: Implementation, workload: Workload, dtype: str) -> Sequence[str]:
    """The texts that Inductor hands to Python as the rung is translated anew, from its cache if it is there."""
    from torch._inductor.graph import GraphLowering

    from ..backends import torch as tensors

    codes: list[str] = []
    with (
        mock.patch.object(GraphLowering, "save_output_code", codes.append),
        mock.patch.object(tensors, "_compiled", {}),  # so that it is translated now
    ):
        run_once(k, workload, dtype)
    return list(dict.fromkeys(codes))


def _machine_code(kernels: Sequence[Listing], aspect: str) -> Iterator[Listing]:
    """The hottest function of each shared object that torch compiled of these kernels."""
    import torch

    for kernel in kernels:
        path = _library_of(kernel.text)
        if path is None:
            continue
        file, found = object_file(path), []
        for function in file.functions:  # of the kernel, not of the binding to Python
            if re.match(r"kernel\b", function.name) or "omp_outlined" in function.name:
                loop = hot_loop(file.code(function), this_family())
                found += [(function, loop)] if loop is not None else []
        if not found:
            continue
        function, loop = max(found, key=lambda pair: heat(pair[1]))
        line_of = file.lines(function, (*HELPERS, str(Path(torch.__file__).parent)))
        lines = tuple(
            Line(one.text, one.kind, line_of(one.address), one.address, one.address in loop.addresses)
            for one in file.code(function)
            if aspect != "hot" or one.address in loop.addresses
        )
        calls = sum(one.kind == "call" for one in loop.instructions)
        note = f"The loop calls {calls} function{'s' if calls > 1 else ''} an iteration: Sleef's, of a vector each."
        comment = file.elf.get_section_by_name(".comment")
        compiler = comment.data().strip(b"\0").split(b"\0")[0].decode() if comment is not None else "unknown"
        title = f"{kernel.title.partition(':')[0]}, {function.name}"
        yield Listing(title, "asm", lines, loop, (note,) if calls else (), {"compiler": compiler})


def _library_of(text: str) -> Path | None:
    """The shared object that torch loaded for a kernel's C++; its source is in the same folder."""
    wanted = "".join(text.split())
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if name.endswith(".kernel") and place and place.endswith(".so"):
            source = Path(place).with_suffix(".cpp")
            if source.is_file() and wanted in "".join(source.read_text(encoding="utf-8").split()):
                return Path(place)
    return None
