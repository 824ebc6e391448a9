"""What figures depend on apart from the code: processor, versions, thread pools, BLAS kernels."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_info

from .._core import isa
from .._version import __version__
from ..backends import threads

SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that make OpenBLAS choose kernels or block sizes for another processor than this one."""


@dataclass(frozen=True)
class ThreadPool:
    """The threads of a library, and for a BLAS library the kernels that it has chosen."""

    owner: str
    threads: int
    library: str = ""
    kernel: str = ""

    def __str__(self) -> str:
        about = ", ".join(filter(None, (self.library, self.kernel and f"kernel {self.kernel}")))
        return f"{self.owner} {self.threads}" + (f" ({about})" if about else "")


@dataclass(frozen=True)
class Environment:
    """What figures were taken on and with."""

    cpu: str
    cores: int
    system: str
    isa: str
    versions: Mapping[str, str]
    pools: tuple[ThreadPool, ...]
    warnings: tuple[str, ...] = ()


def environment() -> Environment:
    """The environment of this process as it is now. torch's threads are known once torch is imported."""
    versions = {"loopnest": __version__, "Python": platform.python_version()}
    for name, package in (("NumPy", "numpy"), ("Numba", "numba"), ("torch", "torch"), ("JAX", "jax")):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(package)
    return Environment(
        cpu=_cpu(),
        cores=threads.processors(),
        system=f"{platform.system()} {platform.machine()}",
        isa=isa(),
        versions=versions,
        pools=tuple(_pools()),
        warnings=_warnings(),
    )


def _cpu() -> str:
    """The processor's name, with its family and model where it has them: a virtual machine may say "AMD EPYC" of both a
    Zen 4 (family 25) and a Zen 5 (family 26)."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        of = {key.strip(): text.strip() for key, _, text in (line.partition(":") for line in first.splitlines())}
        if name := of.get("model name"):
            return f"{name} (family {of['cpu family']}, model {of['model']})" if "cpu family" in of else name
    if sys.platform == "darwin":
        query = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def _pools() -> Iterator[ThreadPool]:
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            library = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}.get(pool["internal_api"], "BLAS")
            owner = next((name for name in ("NumPy", "SciPy", "torch") if name.lower() in pool["filepath"]), "BLAS")
            version = f"{library} {pool['version'] or ''}".strip()
            yield ThreadPool(owner, pool["num_threads"], version, pool.get("architecture") or "")
    torch = sys.modules.get("torch")
    if torch is not None:
        yield ThreadPool("torch", torch.get_num_threads(), "MKL" if torch.backends.mkl.is_available() else "")
    yield ThreadPool("loopnest", threads.num_threads())


def _warnings() -> tuple[str, ...]:
    found = {name: os.environ[name] for name in SLOWING if name in os.environ}
    if not found:
        return ()
    are_set = " and ".join(f"{name}={value}" for name, value in found.items())
    unset = " ".join(f"-u {name}" for name in found)
    return (
        f"{are_set} in the environment: it can halve NumPy's speed, and flatters every comparison with it; "
        f"without it: env {unset} loopnest bench",
    )
