"""What did the compiler make of a user's file, and how fast is that? `loopnest inspect FILE`, and the page of `watch`.

A file is built once by each compiler and with all flags that are asked for; each build is judged as by `check`, in the
same process, and read by the room inspect.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..backends.compiler import FLAGS, BuildError
from ..backends.user_file import language
from ..inspect.in_cuda import Launch
from ..inspect.in_cuda_cpp import file_listings
from ..inspect.own import Compiled, library_listings, numba_code, numba_listings
from ..inspect.records import InspectError, Listing, Loop
from ..process.session import EndedError, FailedInChildError
from ..verify.c_signature import CForm
from .judge import check
from .kernel import Kernel
from .records import Verdict

SECONDS = 1.0
"""Of the timing of each build."""


@dataclass(frozen=True)
class Inside:
    """One build of a file.

    listings  of its machine code; none where `why_not` says why there is none
    loop      its hot loop
    """

    verdict: Verdict
    compiler: str
    flags: str
    listings: tuple[Listing, ...] = ()
    loop: Loop | None = None
    why_not: str = ""

    @property
    def name(self) -> str:
        """What makes it another build than the others."""
        by = "NVRTC" if any(x.language in ("ptx", "sass") for x in self.listings) else "Numba" if self.loop else ""
        return f"{self.compiler} {self.flags}".strip() or by or "not compiled here"


def inspect_file(
    file: Path | str,
    operation: Any,
    *aspects: str,
    compilers: Sequence[str | None] = (None,),
    flags: Sequence[str] = (FLAGS,),
    cpu: str | None = None,
    gpu: str | None = None,
    workload: str | None = None,
    seconds: float = SECONDS,
    **options: Any,
) -> list[Inside]:
    """Each build of a user's file, inspected, and timed next to the ladder if it is right.

    aspects   of its machine code: "hot", the default, "asm", "source", "remarks"; of a .cu file "hot", "sass", "ptx"
    compilers names or paths; None is the one that `check` takes
    flags     for each compiler
    cpu       the processor family of the bound, such as "Zen 3"; this machine's by default
    gpu       the compute capability of the code of a .cu file; "9.0" by default
    workload  of the timing; the first build's for all where it is None
    seconds   of the timing of each build; 0 for none
    options   of `check`: dtype, threads, time_limit and others

    Raises ValueError for arguments that cannot be. What does not build, or has no machine code, says so in `why_not`.
    """
    kind, found, target = language(Path(file)), list[Inside](), {"cpu": cpu, "gpu": gpu}
    for compiler, chosen in product(compilers, flags) if kind in ("c", "c++") else [(None, "")]:
        how: dict[str, Any] = {"compiler": compiler, "flags": chosen} if chosen else {}
        found.append(
            _inspected(Path(file), operation, aspects or ("hot",), target, workload, seconds, {**options, **how})
        )
        timing = found[-1].verdict.timing
        workload = workload or (timing.own.workload if timing else None)
    return found


def _inspected(
    file: Path, operation: Any, aspects: Sequence[str], target: dict[str, str | None], workload: str | None,
    seconds: float, how: dict[str, Any],
) -> Inside:  # fmt: skip
    listings, why_not, hot = list[Listing](), ["it was not built"], list[Loop]()

    def look(kernel: Kernel) -> None:
        try:
            seen = listings_of(kernel, ("hot", *aspects), compiler=how.get("compiler"), workload=workload, **target)
        except (InspectError, BuildError) as error:
            why_not[:] = [str(error)]
        else:
            hot[:], listings[:], why_not[:] = filter(None, [seen[0].loop]), seen[1:], []

    verdict = check(file, operation, workload=workload, seconds=seconds, look=look, **how)
    command = verdict.build.command if verdict.build and how.get("flags") else ""
    name = how.get("compiler") or command.partition(" ")[0]
    why = verdict.sentence if why_not == ["it was not built"] else "".join(why_not)
    return Inside(verdict, name, how.get("flags", ""), tuple(listings), hot[0] if hot else None, why)


def listings_of(
    kernel: Kernel,
    aspects: Sequence[str],
    *,
    cpu: str | None = None,
    compiler: str | None = None,
    gpu: str | None = None,
    workload: str | None = None,
) -> list[Listing]:
    """The listings of a kernel that was built, while its process lives. A GPU's are made for the compute capability
    `gpu`, and for the grid on this workload, by default the largest. Raises InspectError for what has none."""
    if kernel.language in ("c", "c++"):
        assert kernel.library is not None
        made = Compiled(kernel.library, kernel.symbol, kernel.file, kernel.language, kernel.flags, compiler)
        return library_listings(made, aspects, cpu)
    if "numba" in kernel.uses:
        with contextlib.suppress(EndedError, FailedInChildError):
            return numba_listings(kernel.host.live().run(numba_code), kernel.file, aspects)
        raise InspectError(f"{kernel.file.name} could not be compiled by Numba once more, with source lines")
    if kernel.simulated is not None:
        assert isinstance(kernel.form, CForm)
        of = kernel.operation.workload(workload) if workload else kernel.operation.contract.workloads[-1]
        sizes = {a.name: a.what for a in kernel.form.arguments if a.kind == "size"}
        values = {name: math.prod(of.shape.values()) if axis == "*" else of.shape[axis] for name, axis in sizes.items()}
        grid, block, shared = kernel.simulated.source.kernel(kernel.symbol).launch.of(values)
        launch = Launch((kernel.file, kernel.symbol), kernel.symbol, grid, block, shared)
        return file_listings(launch, kernel.form.dtype, of.name, aspects, gpu)
    raise InspectError(f"{kernel.file.name} is Python, which no compiler makes machine code of")
