"""The C++ sources: where they lie, and how they explain themselves."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import _core


def csrc() -> Path:
    """The folder of the C++ sources: installed inside the package, or in the source tree."""
    installed = Path(__file__).parents[1] / "csrc"
    return installed if installed.exists() else Path(__file__).parents[3] / "csrc"


@dataclass(frozen=True)
class KernelLine:
    """A line of csrc/rungs.def, which says what each column means.

    kind    RUNG, KERNEL or LIMIT
    scalar  compiled with vectorization off
    header  below csrc/
    """

    kind: str
    operation: str
    variant: str
    scalar: bool
    header: str


@cache
def kernel_lines() -> dict[tuple[str, str], KernelLine]:
    """The C++ kernels by operation and variant, in the order of csrc/rungs.def.

    >>> from loopnest.backends.cpp import kernel_lines
    >>> kernel_lines()["matmul", "packed"].header
    'matmul/packed.hpp'
    """
    text = (csrc() / "rungs.def").read_text(encoding="utf-8")
    found = re.findall(r'^(\w+)\((\w+), \w+, (\w+), (\w+), \w+, "(.+)"\)$', text, re.MULTILINE)
    lines = (KernelLine(kind, op, variant, way == "scalar", header) for kind, op, variant, way, header in found)
    return {(line.operation, line.variant): line for line in lines}


def amx_is_emulated() -> bool:
    """Whether the rungs on AMX's tiles run in plain C++ here: slowly, and for tests."""
    return _core.why_no_amx() is not None or _core.isa() != "v4"


def opening_comment(path: Path) -> str:
    """The text of the // lines that a source file opens with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        lines.append(line[2:].removeprefix(" "))
    return "\n".join(lines).strip()


def comment_above(path: Path, variant: str) -> str:
    """The comment above a function template: a file with several rungs says there what each one is."""
    found = re.search(
        rf"((?:^//.*\n)+)template <class T>\nvoid {variant}\(", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    return re.sub("^// ?", "", found[1], flags=re.MULTILINE).strip() if found else ""
