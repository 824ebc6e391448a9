"""torch's rungs: what Inductor wrote for the compiled ones, and which library's routines the eager ones run.

    workload  whose call is looked at; the operation's smallest where it is not given

source  the rung's Python; then, of a compiled rung, the C++ that Inductor wrote and the Python that calls it, or, of an
        eager one, torch's operators and the routines of MKL and oneDNN, as these libraries themselves tell
hot     and asm: the machine code of Inductor's C++, from the shared object that torch loaded
ttir    Triton's IR: only on a GPU, since Inductor writes C++ for a CPU
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..operation import Implementation
from . import Request, source_listing, workload_of
from .dwarf import HELPERS
from .elf import ObjectFile, object_file
from .loops import heat, hot_loop
from .ports import this_family
from .records import InspectError, Line, Listing

SHOWS = ("source", "hot", "asm", "ttir")


def show(request: Request) -> list[Listing]:
    k = request.implementation
    reason = k.why_unavailable()
    if request.aspect == "source" and reason is not None:
        return [source_listing(k)]
    if reason is not None:
        raise InspectError(f"{k.id} cannot run here: {reason}")
    if request.aspect == "ttir":
        raise InspectError(_no_triton(k))
    chosen = workload_of(k, request.options.get("workload") or k.operation.contract.workloads[0].name)
    if k.variant != "compiled":
        if request.aspect == "source":
            return [source_listing(k), _routines(k, chosen, request.dtype)]
        raise InspectError(
            f"{k.id} has no loops of its own: torch calls routines that it has compiled. "
            f"`loopnest inspect {k.operation.name} {k.id} --source` names them"
        )
    kernels, wrapper = inductor_code(k, chosen, request.dtype)
    if request.aspect == "source":
        return [source_listing(k), *kernels, wrapper]
    listings = list(_machine_code(k, kernels, request.aspect))
    if not listings:
        raise InspectError(
            f"{k.id} has no loops of its own: Inductor's code calls torch's routines alone. "
            f"`loopnest inspect {k.operation.name} {k.id} --source` shows it"
        )
    return listings


def _no_triton(k: Implementation) -> str:
    if importlib.util.find_spec("triton") is None:
        return (
            f"Triton is not installed, and {k.id} runs on the CPU, for which Inductor writes C++: --source shows that"
        )
    return f"{k.id} runs on the CPU, for which Inductor writes C++ and no Triton: --source shows that"


# --- eager rungs: whose routines run


@dataclass(frozen=True)
class Routine:
    """A routine that ran.

    library  "MKL", "oneDNN", or "ATen" for torch's own operators
    detail   what the library tells of it
    """

    library: str
    name: str
    calls: int
    detail: str = ""


def routines_of(k: Implementation, workload: str, dtype: str) -> tuple[list[Routine], dict[str, str]]:
    """The routines that one call of a torch rung runs, in order, and which versions they are of.

    It is run in a process of its own: MKL and oneDNN tell what they run if they are asked to when they are loaded.
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
    return read_told(ran.stdout)


def read_told(text: str) -> tuple[list[Routine], dict[str, str]]:
    """What the child's output tells: lines of MKL and oneDNN, and torch's operators.

    >>> told = "MKL_VERBOSE SGEMM(N,N,256,128,64,0x1,0x2,256,0x3,64,0x4,0x5,256) 13.01ms CNR:OFF NThr:2"
    >>> read_told(told)[0]
    [Routine(library='MKL', name='SGEMM', calls=1, detail='N, N, 256, 128, 64, 2 threads')]
    """
    found: list[Routine] = []
    versions: dict[str, str] = {}
    for line in text.splitlines():
        if mkl := re.match(r"MKL_VERBOSE (\w+)\(([^)]*)\) (.*)", line):
            kept = [word for word in mkl[2].split(",") if not word.startswith("0x")]
            # After the sizes of a product come leading dimensions, which the sizes imply here.
            kept = kept[:5] if "GEMM" in mkl[1] else kept
            threads = re.search(r"NThr:(\d+)", mkl[3])
            kept += [f"{threads[1]} thread{'s' if threads[1] != '1' else ''}"] if threads else []
            found.append(Routine("MKL", mkl[1], 1, ", ".join(kept)))
        elif line.startswith("onednn_verbose") and ",exec," in line:
            fields = line[line.index(",exec,") :].split(",")[2:]
            if len(fields) > 2:
                found.append(Routine("oneDNN", fields[1], 1, f"{fields[2]}, {fields[-2]}"))
        elif line.startswith("loopnest: "):
            told = json.loads(line.removeprefix("loopnest: "))
            found += [Routine("ATen", one["name"], one["calls"]) for one in told["operators"]]
            versions = {"torch": told["torch"], "libraries": "; ".join(told["libraries"])}
    merged: dict[tuple[str, str, str], int] = {}
    for one in found:
        key = (one.library, one.name, one.detail)
        merged[key] = merged.get(key, 0) + one.calls
    return [Routine(library, name, n, detail) for (library, name, detail), n in merged.items()], versions


_BOOKKEEPING = ("aten::as_strided", "aten::resolve_", "aten::lift_fresh", "aten::detach", "aten::view", "aten::to",
                "aten::expand", "aten::slice", "aten::select", "aten::reshape", "aten::_unsafe_view", "aten::t",
                "aten::transpose", "aten::alias")  # fmt: skip
"""Operators that move no element."""


def _routines(k: Implementation, workload: Any, dtype: str) -> Listing:
    routines, versions = routines_of(k, workload.name, dtype)
    computing = [r for r in routines if not (r.library == "ATen" and r.name.rstrip("_").startswith(_BOOKKEEPING))]
    lines = tuple(Line(f"{r.library:7} {r.name:28} {_times(r.calls):10} {r.detail}".rstrip()) for r in computing)
    notes = []
    if not any(r.library != "ATen" for r in computing):
        notes.append("Neither MKL nor oneDNN ran: the loops are torch's own (ATen), compiled for several ISA levels.")
    if any(r.library == "MKL" and "GEMM" in r.name for r in computing):
        notes.append("The product is MKL's; torch's matrices are row-major, so it is called with the operands swapped.")
    return Listing(f"what {k.id} runs, on {workload.name}, {dtype}", "text", lines, None, tuple(notes), versions)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


# --- compiled rungs: what Inductor wrote


def inductor_code(k: Implementation, workload: Any, dtype: str) -> tuple[list[Listing], Listing]:
    """The C++ kernels that Inductor wrote for a call of a compiled rung, and the Python that calls them."""
    written = list(_written(k, workload, dtype))
    if not written:
        raise InspectError(f"{k.id}: torch compiled nothing for {workload.name}")
    kernels = []
    around: list[Line] = []
    for code in written:
        pieces = re.split(r"(async_compile\.cpp_pybinding\(.*?r?'''.*?'''\))", code, flags=re.DOTALL)
        for piece in pieces:
            body = re.search(r"cpp_pybinding\((.*?), r?'''(.*?)'''\)", piece, re.DOTALL)
            if body is None:
                around += [Line(line) for line in piece.splitlines()]
                continue
            name = re.search(r"(\w+) = $", around[-1].text) if around else None
            title = f"{name[1] if name else 'a kernel'}: C++ by Inductor, {dtype}"
            lines = tuple(Line(line) for line in body[2].strip("\n").splitlines())
            kernels.append(Listing(title, "cpp", lines, first=1))
            if around:
                around[-1] = Line(around[-1].text + f"async_compile.cpp_pybinding({body[1]}, …)")
    note = "Imports, and what measures this file by itself, are left out."
    title = f"the call of these, in Python by Inductor, on {workload.name}"
    return kernels, Listing(title, "python", tuple(_calling(around)), None, (note,))


def _calling(lines: Iterable[Line]) -> Iterator[Line]:
    """Of Inductor's Python the names of the kernels and the function that calls them."""
    depth: int | None = None
    for line in lines:
        indent = len(line.text) - len(line.text.lstrip())
        if "async_compile.cpp_pybinding(" in line.text:
            yield line
        elif line.text.lstrip().startswith("def call("):
            depth = indent
            yield Line(line.text[indent:])
        elif depth is not None and (indent > depth or not line.text.strip()):
            if line.text.strip():
                yield Line(line.text[depth:])
        else:
            depth = None


def _written(k: Implementation, workload: Any, dtype: str) -> Sequence[str]:
    """The texts that Inductor hands to Python as the rung is translated anew, from its cache where it is there."""
    from torch._inductor.graph import GraphLowering

    from ..backends import torch as tensors

    codes: list[str] = []
    before, kept = GraphLowering.save_output_code, tensors._compiled.copy()
    tensors._compiled.clear()  # so that it is translated now
    GraphLowering.save_output_code = codes.append
    try:
        arguments = k.operation.contract.sample(workload, np.dtype(dtype), np.random.default_rng(0))
        k.operation.contract.run(k.kernel, *arguments.inputs, **arguments.options)
    finally:
        GraphLowering.save_output_code = before
        tensors._compiled.update(kept)
    return list(dict.fromkeys(codes))


def _machine_code(k: Implementation, kernels: Sequence[Listing], aspect: str) -> Iterator[Listing]:
    """The loops of the shared objects that torch compiled of these kernels, the hottest function of each."""
    for kernel in kernels:
        path = _library_of(kernel.text)
        if path is None:
            continue
        file = object_file(path)
        found = []
        for function in _functions(file):
            loop = hot_loop(file.code(function), this_family())
            if loop is not None:
                found.append((function, loop))
        if not found:
            continue
        function, loop = max(found, key=lambda pair: heat(pair[1]))
        inside = {one.address for one in loop.instructions}
        line_of = file.lines(function, (*HELPERS, _torch_headers()))
        lines = tuple(
            Line(one.text, one.kind, line_of(one.address), one.address, one.address in inside)
            for one in file.code(function)
            if aspect != "hot" or one.address in inside
        )
        name = kernel.title.partition(":")[0]
        calls = sum(one.kind == "call" for one in loop.instructions)
        notes = (
            (f"The loop calls {calls} function{'s' if calls > 1 else ''} an iteration: Sleef's, of a vector each.",)
            if calls
            else ()
        )
        yield Listing(f"{name}, {function.name}", "asm", lines, loop, notes, {"compiler": _compiler(path)})


def _torch_headers() -> str:
    """Where torch's headers lie, whose vector types Inductor's code is written in."""
    import torch

    return str(Path(torch.__file__).parent)


def _functions(file: ObjectFile) -> Iterator[Any]:
    """Those of the kernel, and not of the binding to Python."""
    for function in file.functions:
        if re.match(r"kernel\b", function.name) or "omp_outlined" in function.name:
            yield function


def _library_of(text: str) -> Path | None:
    """The shared object that torch loaded of a kernel's C++, which lies beside its source."""
    wanted = "".join(text.split())
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if not (name.endswith(".kernel") and place and place.endswith(".so")):
            continue
        source = Path(place).with_suffix(".cpp")
        if source.is_file() and wanted in "".join(source.read_text(encoding="utf-8").split()):
            return Path(place)
    return None


def _compiler(path: Path) -> str:
    """What the object file says that it was compiled by."""
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".comment")
        return section.data().strip(b"\0").split(b"\0")[0].decode() if section is not None else "unknown"
