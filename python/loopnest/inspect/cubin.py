"""From PTX to a GPU's machine code without a GPU: assembled by nvJitLink, disassembled by nvdisasm.

nvJitLink comes with numba-cuda and cuda.core (the extra `cuda`). Its report has what ptxas, the assembler, made of the
kernel: registers, spills, shared memory. nvdisasm is a program of the CUDA toolkit, and a package of its own:
`pip install nvidia-cuda-nvdisasm`.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .records import InspectError

RESERVED = 1024
"""Bytes of shared memory that the system reserves: the linker's report counts them for 9.0, but not for others."""


@dataclass(frozen=True)
class Kernel:
    """The assembler's report on one kernel.

    registers  of a thread
    shared     bytes of a block's static shared memory
    spilled    bytes that a thread writes because there were too few registers, and that it reads back
    """

    registers: int
    shared: int
    spilled: int


def why_no_assembler() -> str | None:
    """Why PTX cannot be assembled here, and the fix; None if it can."""
    if importlib.util.find_spec("cuda") is not None and importlib.util.find_spec("cuda.core") is not None:
        return None
    return "cuda.core, whose nvJitLink makes machine code of PTX, is not installed: pip install 'loopnest[cuda]'"


def why_no_disassembler() -> str | None:
    """Why SASS cannot be shown here, and the fix; None if it can."""
    missing = "nvdisasm, which prints a GPU's machine code, is not installed: pip install nvidia-cuda-nvdisasm"
    return missing if nvdisasm() is None else None


@functools.lru_cache(maxsize=64)
def assemble(ptx: str, cc: tuple[int, int]) -> tuple[bytes, Mapping[str, Kernel]]:
    """PTX as machine code for a compute capability, and the assembler's report by kernel. Raises InspectError."""
    from cuda.bindings.nvjitlink import nvJitLinkError
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=f"sm_{cc[0]}{cc[1]}", lineinfo=True, verbose=True)
    try:
        linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
        cubin = linker.link("cubin").code
    except nvJitLinkError as error:
        raise InspectError(f"nvJitLink cannot assemble this for {cc[0]}.{cc[1]}: {str(error).strip()}") from None
    return bytes(cubin), read_report(linker.get_info_log(), cc)


def read_report(log: str, cc: tuple[int, int]) -> dict[str, Kernel]:
    """The kernels by name in a report of ptxas and the linker, as `-verbose` gives it."""
    kernels = {}
    for part in re.split(r"(?=ptxas info\s+: Compiling entry function)", log)[1:]:
        name = re.search(r"entry function '([^']+)'", part)
        used = re.search(r"ptxas info\s+: Used (\d+) registers(.*)", part)
        if not (name and used):
            continue
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", part)))
        linked = re.search(rf"info\s+: Function properties for '{re.escape(name[1])}':\s*\ninfo\s+: (.*)", log)
        shared = re.search(r"(\d+) bytes smem", linked[1] if linked else used[2])
        nbytes = int(shared[1]) if shared else 0
        if linked and cc == (9, 0):
            nbytes = max(nbytes - RESERVED, 0)
        kernels[name[1]] = Kernel(int(used[1]), nbytes, spilled)
    return kernels


def nvdisasm() -> str | None:
    """The program's path: from PATH or from its package; None without it."""
    package = importlib.util.find_spec("nvidia")
    folders = (package.submodule_search_locations or ()) if package is not None else ()
    programs = (str(path) for folder in folders for path in Path(folder).glob("*/bin/nvdisasm"))
    return shutil.which("nvdisasm") or next(programs, None)


@functools.lru_cache(maxsize=64)
def disassemble(cubin: bytes) -> str:
    """The machine code in nvdisasm's text, with source lines. Raises InspectError."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        ran = subprocess.run([str(nvdisasm()), "-c", "-g", file.name], capture_output=True, text=True, timeout=60)
    if ran.returncode:
        raise InspectError(f"nvdisasm cannot read this: {(ran.stderr or ran.stdout).strip().splitlines()[-1:]}")
    return ran.stdout
