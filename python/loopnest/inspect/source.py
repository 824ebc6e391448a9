"""Source files: the names of the project's own, and their text."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..backends.cpp import csrc
from ..operation import Implementation
from .records import Line, Listing, Loop, SourceLine

PACKAGE = Path(__file__).resolve().parents[1]

AROUND = 6
"""Lines shown around the hot loop's lines in another file."""


def source_line(file: str, number: int) -> SourceLine:
    """A file as a compiler names it. The project's own begin below csrc/ or with the package's folder.

    >>> source_line("/build/loopnest/csrc/matmul/tile.hpp", 121)
    ('matmul/tile.hpp', 121)
    """
    return _known_as(file), number


@functools.cache
def _known_as(file: str) -> str:
    if "csrc/" in file:
        return file.rpartition("csrc/")[2]
    path = Path(file).resolve()
    return str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE) else file


def source_lines(name: str) -> Sequence[str]:
    """The lines of a SourceLine's file; empty if it is not on this machine."""
    path = PACKAGE.parent / name if name.startswith(f"{PACKAGE.name}/") else csrc() / name
    return _lines_of(path, path.stat().st_mtime_ns) if path.is_file() else ()


@functools.lru_cache(maxsize=64)
def _lines_of(path: Path, changed: int) -> Sequence[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def with_instructions(own: str, title: str, loop: Loop | None) -> list[Listing]:
    """A source file, and the lines of other files that a hot loop comes from, with what became of each line.

    own    the file as source lines name it; title  the place of all of these files
    """
    became: dict[str, dict[int, Counter[str]]] = {own: {}}
    for one in loop.instructions if loop is not None else ():
        if one.line is not None:
            file, number = one.line
            became.setdefault(file, {}).setdefault(number, Counter())["FMA" if one.kind == "fma" else one.kind] += 1
    listings = []
    for file, counts in became.items():
        text = source_lines(file)
        if file == own:  # behind the lesson
            first, last = next((n for n, line in enumerate(text, 1) if not line.startswith("//")), 1), len(text)
        else:
            first, last = max(1, min(counts) - AROUND), min(len(text), max(counts) + AROUND)
        lines = []
        for n in range(first, last + 1):
            note = ", ".join(f"{times} {kind}" for kind, times in counts.get(n, Counter()).most_common())
            lines.append(Line(text[n - 1], source=(file, n), hot=n in counts, note=note))
        language = "python" if file.endswith(".py") else "cpp"
        listings.append(Listing(title + file, language, tuple(lines), first=first))
    if loop is not None and all(one.line is None for one in loop.instructions):
        note = "No source lines: they need addr2line (of binutils) and line tables in the code (-g1)."
        listings[-1] = replace(listings[-1], notes=(note,))
    return listings


def source_listing(k: Implementation) -> Listing:
    """A rung's source as it was written."""
    lines = tuple(Line(text) for text in k.source().splitlines())
    return Listing(f"the source of {k.id}", k.language, lines, first=1)
