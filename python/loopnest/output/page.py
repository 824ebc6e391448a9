"""Filling pages: a template's {{names}} are replaced by texts."""

from __future__ import annotations

from pathlib import Path


def fill(template: Path, **texts: str) -> str:
    """The file with each {{name}} replaced; what is put in is not looked through again."""
    pieces = text(template).split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [texts[name], rest]
    return "".join(filled)


def text(file: Path) -> str:
    """A file's text."""
    return file.read_text(encoding="utf-8")
