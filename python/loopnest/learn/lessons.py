"""The lessons: their files, their parts, and how a terminal shows them.

A lesson is one Markdown file, NN-name.md. Its ```python blocks run in order in one namespace. An ```output block after
a block is exactly what it prints. Answers are in <details>, and hidden by default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..output.page import figure, page
from ..output.pictures import CARD


def folder() -> Path:
    """The folder of the lessons: inside the installed package, or docs/lessons of the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "lessons"
    return installed if installed.exists() else package.parents[1] / "docs" / "lessons"


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    >>> from loopnest.learn import lesson
    >>> lesson(1).title
    'Vectors, the dot product and similarity'
    """

    number: int
    file: Path

    @property
    def text(self) -> str:
        return self.file.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The heading without its number."""
        return self.text.partition("\n")[0].lstrip("# ").partition(". ")[2]


PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")
DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.DOTALL)


def lessons() -> list[Lesson]:
    """All lessons, in order."""
    return [Lesson(int(file.name[:2]), file) for file in sorted(folder().glob("[0-9][0-9]-*.md"))]


def lesson(number: int) -> Lesson:
    """The lesson of this number. Raises ValueError, with the range of numbers, where there is none."""
    found = {one.number: one for one in lessons()}
    if number not in found:
        raise ValueError(f"lesson: there is no lesson {number}; expected a number from {min(found)} to {max(found)}")
    return found[number]


def terminal_text(one: Lesson, answers: bool = False) -> str:
    """The lesson's Markdown for a terminal, with commands and file names in place of links and pictures."""

    def details(found: re.Match[str]) -> str:
        question = found[1].strip()
        if answers:
            return f"**{question}**\n\n{found[2].strip()}"
        return f"*{question}: hidden; `loopnest lesson {one.number} --answers` shows it.*"

    def picture(found: re.Match[str]) -> str:
        words = " ".join(found[1].split())
        return f"> **Picture** (`loopnest lesson {one.number} --open`). {words}"

    def link(found: re.Match[str]) -> str:
        target = found[2].partition("#")[0]
        number = re.match(r"(\d\d)-", target)
        if number:
            return f"{found[1]} (`loopnest lesson {int(number[1])}`)"
        return found[1] if f"`{target}`" == found[1] or not target else f"{found[1]} (`{Path(target).name}`)"

    text = DETAILS.sub(details, one.text)
    text = PICTURE.sub(picture, text)
    return re.sub(r"^```output$", "```text", LINK.sub(link, text), flags=re.MULTILINE)


def pictures_page(one: Lesson) -> str:
    """The lesson's pictures with their words, as one HTML page."""
    figures = (
        figure((one.file.parent / file).read_text(encoding="utf-8").replace('"#fff"', f'"{CARD}"'), caption=words)
        for words, file in PICTURE.findall(one.text)
    )
    return page(f"Lesson {one.number}: {one.title}", f"<main>{''.join(figures)}</main>")
