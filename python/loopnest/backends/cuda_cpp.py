"""CUDA C++ for NVIDIA GPUs, compiled by NVRTC at run time.

NVRTC compiles on any machine: it needs the extra `cuda`, but no GPU, no driver and no nvcc. cuda_device.py launches the
kernels, on a GPU or, with LOOPNEST_CUDA_CPP=simulated, on the CPU (cuda_on_cpu.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .compiler import Build, BuildError, NoCompilerError, shortened
from .cpp import csrc
from .cuda_source import STUBS, CudaFile

Kind = Literal["ptx", "cubin"]


@dataclass(frozen=True)
class Compiled:
    """A .cu file compiled by NVRTC.

    name     of the file
    arch     the architecture, such as "sm_90"
    kind     "ptx", text, or "cubin", machine code
    log      the compiler's warnings, and registers where they were asked for
    lowered  the name in the code of each name expression, such as `tiled<float>`
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
        why = (str(error).splitlines() or [type(error).__name__])[0]
        return f"NVRTC cannot be loaded ({why}): pip install 'loopnest[cuda]'"
    return None


def compile_cu(
    source_text: str,
    name: str,
    *,
    arch: str = "sm_90",
    kind: Kind = "ptx",
    names: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Compiled:
    """Compile CUDA C++ with NVRTC, for an architecture that need not be here.

    name     of the file, for messages and line information
    arch     "sm_80" (A100), "sm_89" (RTX 4090), "sm_90" (H100) …
    kind     "ptx", or "cubin": machine code, as cuobjdump and nvdisasm read it
    names    name expressions of the kernels that are templates: "tiled<float>"; other kernels are always compiled
    options  further options for NVRTC: "--maxrregcount=64"

    Raises BuildError with NVRTC's first errors, NoCompilerError where NVRTC is not installed, ValueError for an arch
    that it does not know.

    >>> from loopnest.backends.cuda_cpp import compile_cu, why_no_nvrtc
    >>> text = "__global__ void twice(float* x) { x[threadIdx.x] *= 2; }"
    >>> compiled = None if why_no_nvrtc() else compile_cu(text, "twice.cu")
    >>> compiled is None or "ld.global" in compiled.ptx
    True
    """
    missing = why_no_nvrtc()
    if missing:
        raise NoCompilerError(f"{name} cannot be compiled: {missing}", Build("cuda"))
    from cuda.bindings import nvrtc

    known = known_archs()
    if arch.rstrip("af") not in known:
        raise ValueError(f"compile_cu: arch is {arch!r}, expected one that NVRTC knows: {', '.join(known)}")
    given = [
        "--std=c++17",
        f"--gpu-architecture={arch if kind == 'cubin' else arch.replace('sm_', 'compute_')}",
        "--generate-line-info",
        "--device-as-default-execution-space",
        f"--include-path={csrc()}",
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
            build = Build("cuda", "NVRTC", shortened(log, Path(name)) or result.name)
            raise BuildError(f"{name} does not compile:\n{build.messages}", build)
        form = kind.upper()
        code = _buffer(getattr(nvrtc, f"nvrtcGet{form}Size"), getattr(nvrtc, f"nvrtcGet{form}"), program)
        lowered = {k: _checked(nvrtc.nvrtcGetLoweredName(program, k.encode()))[0].decode() for k in names}
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return Compiled(name, arch, kind, code, log, lowered)


def known_archs() -> list[str]:
    """The architectures that NVRTC compiles for, from the oldest to the newest: sm_75, …"""
    from cuda.bindings import nvrtc

    return [f"sm_{number}" for number in sorted(_checked(nvrtc.nvrtcGetSupportedArchs())[0])]


def _checked(answer: Any) -> tuple[Any, ...]:
    """The results of a call of cuda.bindings after its status. Raises RuntimeError where that is not success."""
    status, *values = answer
    if int(status) != 0:
        raise RuntimeError(f"NVRTC: {status.name}")
    return tuple(values)


def _buffer(size_of: Any, read: Any, program: Any) -> bytes:
    (size,) = _checked(size_of(program))
    buffer = bytearray(size)
    _checked(read(program, buffer))
    return bytes(buffer)


def compile_file(file: Path, *, arch: str = "sm_90", kind: Kind = "ptx", options: Sequence[str] = ()) -> Compiled:
    """Compile one of csrc's .cu files, its templates for both dtypes."""
    source = CudaFile.read(file)
    return compile_cu(source.text, str(file), arch=arch, kind=kind, names=source.expressions(), options=options)


def compile_for_device(file: Path, arch: str) -> Compiled:
    """Machine code for this architecture; where NVRTC does not know it, PTX for the newest that NVRTC knows, which the
    driver then compiles."""
    try:
        return compile_file(file, arch=arch, kind="cubin")
    except ValueError:
        return compile_file(file, arch=known_archs()[-1], kind="ptx")
