"""Source files: the names of the project's own, and their text."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from ..backends.cpp import csrc
from ..operation import Implementation
from .records import Line, Listing, SourceLine

PACKAGE = Path(__file__).resolve().parents[1]

LANGUAGES = {"cpp": "cpp", "cuda_cpp": "cuda"}
"""Of the backends that are not written in Python."""


def source_line(file: str, number: int) -> SourceLine:
    """A file as a compiler names it. The project's own begin below csrc/ or with the package's folder.

    >>> source_line("/build/loopnest/csrc/matmul/tile.hpp", 121)
    ('matmul/tile.hpp', 121)
    """
    if "csrc/" in file:
        return file.rpartition("csrc/")[2], number
    path = Path(file).resolve()
    return (str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE) else file), number


@functools.cache
def source_lines(name: str) -> Sequence[str]:
    """The lines of a SourceLine's file; empty if it is not on this machine."""
    path = PACKAGE.parent / name if name.startswith(f"{PACKAGE.name}/") else csrc() / name
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ()


def source_listing(k: Implementation) -> Listing:
    """A rung's source as it was written."""
    lines = tuple(Line(text) for text in k.source().splitlines())
    return Listing(f"the source of {k.id}", LANGUAGES.get(k.backend, "python"), lines, first=1)
