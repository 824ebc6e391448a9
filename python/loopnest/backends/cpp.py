"""How a C++ kernel becomes a rung: its header's opening comment is the lesson, the header its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import _core
from ..operation import Rung, add_rung


def header_rung(
    operation: str, variant: str, header: str, *, faster_than: str | Sequence[str] = (), study: bool = False
) -> None:
    """Declare the kernel that the extension's table holds for `operation` and `variant` to be a rung.

    header  its file below csrc/, as in `matmul/naive.hpp`
    """
    path = csrc() / header
    add_rung(
        operation,
        "cpp",
        Rung(
            variant=variant,
            kernel=_core.kernels[operation][variant],
            lesson=lambda: opening_comment(path),
            source=lambda: path.read_text(encoding="utf-8"),
            faster_than=(faster_than,) if isinstance(faster_than, str) else tuple(faster_than),
            study=study,
            header=header,
        ),
    )


def csrc() -> Path:
    """The folder of the C++ sources: installed beside this file, or in the source tree."""
    installed = Path(__file__).parents[1] / "csrc"
    return installed if installed.exists() else Path(__file__).parents[3] / "csrc"


def opening_comment(path: Path) -> str:
    """The text of the // lines that a source file opens with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        lines.append(line[2:].removeprefix(" "))
    return "\n".join(lines).strip()
