"""CUDA C++ for NVIDIA GPUs: compiled by NVRTC at run time, launched where there is a device.

NVRTC compiles on any machine: it needs no GPU, no driver and no nvcc, but the extra `cuda`. Where there is no device,
LOOPNEST_CUDA_CPP=simulated runs the same sources on the CPU (cuda_on_cpu.py): right, slow, and never timed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .cpp import csrc
from .cuda_device import name_expressions
from .cuda_on_cpu import STUBS, CudaBuildError

Kind = Literal["ptx", "cubin"]


@dataclass(frozen=True)
class Compiled:
    """What NVRTC made of a .cu file.

    name     the file's
    arch     the architecture: sm_90
    kind     "ptx", as text, or "cubin", the machine code of that architecture
    code     it
    log      what the compiler said, warnings and registers
    lowered  for each name expression, such as `tiled<float>`, the name in the code
    """

    name: str
    arch: str
    kind: Kind
    code: bytes
    log: str
    lowered: Mapping[str, str] = field(default_factory=dict)

    @property
    def ptx(self) -> str:
        """The PTX's text. Raises ValueError where it is a cubin."""
        if self.kind != "ptx":
            raise ValueError(f"{self.name} was compiled to a cubin; compile_cu(…, kind='ptx') gives PTX")
        return self.code.rstrip(b"\0").decode()


def why_no_nvrtc() -> str | None:
    """Why NVRTC cannot compile here, with the fix, or None where it can."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except ImportError:
        return "cuda-bindings is not installed: pip install 'loopnest[cuda]'"
    except Exception as error:  # the library itself is missing: what is raised differs between versions
        return f"NVRTC cannot be loaded ({_first_line(error)}): pip install 'loopnest[cuda]'"
    return None


def compile_cu(
    source_text: str,
    name: str,
    *,
    arch: str = "sm_90",
    kind: Kind = "ptx",
    defines: Sequence[str] = (),
    names: Sequence[str] = (),
    folders: Sequence[Path] = (),
    options: Sequence[str] = (),
) -> Compiled:
    """Compile CUDA C++ with NVRTC, for an architecture that need not be here.

    name     of the file, for messages and line information
    arch     "sm_80" (A100), "sm_89" (RTX 4090), "sm_90" (H100) …
    kind     "ptx", or "cubin": machine code, as cuobjdump and nvdisasm read it
    defines  macros: "TILE=16"
    names    name expressions of the kernels that are templates: "tiled<float>"; others are compiled in any case
    folders  in which the file's own headers lie; those of csrc/cuda/ are found
    options  more of NVRTC's: "--maxrregcount=64"

    Raises CudaBuildError with NVRTC's message, shortened, or where NVRTC is not here; ValueError for an arch that it
    does not know.

    >>> from loopnest.backends.cuda_cpp import compile_cu, why_no_nvrtc
    >>> text = "__global__ void twice(float* x) { x[threadIdx.x] *= 2; }"
    >>> why_no_nvrtc() is not None or "ld.global" in compile_cu(text, "twice.cu").ptx
    True
    """
    missing = why_no_nvrtc()
    if missing:
        raise CudaBuildError(f"{name} cannot be compiled: {missing}", "")
    from cuda.bindings import nvrtc

    known = known_archs()
    if not re.fullmatch(r"sm_\d+[af]?", arch) or arch.rstrip("af") not in known:
        raise ValueError(f"compile_cu: arch is {arch!r}, expected one that NVRTC knows: {', '.join(known)}")
    given = [
        "--std=c++17",
        f"--gpu-architecture={arch if kind == 'cubin' else arch.replace('sm_', 'compute_')}",
        "--generate-line-info",
        "--device-as-default-execution-space",
        *(f"--include-path={path}" for path in (*folders, csrc() / "cuda")),
        *(f"--define-macro={define}" for define in defines),
        *options,
    ]
    stubs = [stub.encode() for stub in STUBS]
    empty = [b"#pragma once\n"] * len(stubs)
    (program,) = _checked(nvrtc.nvrtcCreateProgram(source_text.encode(), name.encode(), len(stubs), empty, stubs))
    try:
        for expression in names:
            _checked(nvrtc.nvrtcAddNameExpression(program, expression.encode()))
        (result,) = nvrtc.nvrtcCompileProgram(program, len(given), [option.encode() for option in given])
        log = _buffer(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).rstrip(b"\0").decode()
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CudaBuildError(f"{name} does not compile:\n{shortened(log) or result.name}", log)
        if kind == "ptx":
            code = _buffer(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
        else:
            code = _buffer(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        lowered = {k: _checked(nvrtc.nvrtcGetLoweredName(program, k.encode()))[0].decode() for k in names}
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return Compiled(name, arch, kind, code, log, lowered)


def known_archs() -> list[str]:
    """The architectures that NVRTC compiles for, from the oldest to the newest: sm_75, …"""
    from cuda.bindings import nvrtc

    return [f"sm_{number}" for number in sorted(_checked(nvrtc.nvrtcGetSupportedArchs())[0])]


def newest_arch() -> str:
    return known_archs()[-1]


def shortened(log: str, most: int = 3) -> str:
    """The first errors of NVRTC's log, each with its line of the source and the mark under it."""
    parts = re.split(r"\n(?=\S+\(\d+\): |\d+ errors? detected)", log.strip())
    errors = [part for part in parts if re.match(r"\S+\(\d+\): (catastrophic )?error", part)]
    told = ["\n".join(line for line in part.splitlines() if line.strip()) for part in errors[:most]]
    if len(errors) > most:
        told.append(f"and {len(errors) - most} more errors")
    return "\n".join(told)


def _checked(answer: Any) -> tuple[Any, ...]:
    """What a call of cuda.bindings returned beside its status, which has to be success."""
    status, *values = answer
    if int(status) != 0:
        raise RuntimeError(f"NVRTC: {status.name}")
    return tuple(values)


def _buffer(size_of: Any, read: Any, program: Any) -> bytes:
    (size,) = _checked(size_of(program))
    buffer = bytearray(size)
    _checked(read(program, buffer))
    return bytes(buffer)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def compile_file(file: Path, *, arch: str = "sm_90", kind: Kind = "ptx", options: Sequence[str] = ()) -> Compiled:
    """A file of csrc/cuda/, its templates for both dtypes; `lowered` has the kernels' names in the code.

    >>> from loopnest.backends.cpp import csrc
    >>> from loopnest.backends.cuda_cpp import compile_file, why_no_nvrtc
    >>> compiled = None if why_no_nvrtc() else compile_file(csrc() / "cuda" / "matmul_tiled.cu")
    >>> compiled is None or sorted(compiled.lowered)
    ['matmul_tiled<double>', 'matmul_tiled<float>']
    """
    text = file.read_text(encoding="utf-8")
    return compile_cu(text, str(file), arch=arch, kind=kind, names=name_expressions(text), options=options)


def compile_for_device(file: Path, arch: str) -> Compiled:
    """Machine code for this architecture; PTX of the newest that NVRTC knows, for the driver to go on with, if it is
    newer."""
    try:
        return compile_file(file, arch=arch, kind="cubin")
    except ValueError:
        return compile_file(file, arch=newest_arch(), kind="ptx")
