"""The C++ sources: where they lie, and how they explain themselves."""

from __future__ import annotations

from pathlib import Path


def csrc() -> Path:
    """The folder of the C++ sources: installed inside the package, or in the source tree."""
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
