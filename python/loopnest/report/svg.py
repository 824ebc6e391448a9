"""matplotlib's figures as SVG for the page: its colours from the page's style sheet, its marks known to the script.

Figures are drawn with placeholder colours, each of which becomes a variable of the style sheet, so that a figure is
dark where the page is. An artist with the gid `mark(i)` becomes an element that belongs to record i: the script shows
its figures when the pointer is over it, and dims it when a filter leaves it out.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

INK, FAINT, GRID, LIMIT, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
COLOURS = {
    "python": "#0a0001",
    "numpy": "#0a0002",
    "numba": "#0a0003",
    "cuda": "#0a0004",
    "cuda_cpp": "#0a0005",
    "cpp": "#0a0006",
    "torch": "#0a0007",
    "other": "#0a0008",
}
"""By backend."""

VARIABLES = {INK: "ink", FAINT: "faint", GRID: "grid", LIMIT: "limit", PAPER: "paper"} | {
    colour: backend.replace("_", "-") for backend, colour in COLOURS.items()
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text is text: it can be searched, and has the page's font
    "svg.hashsalt": "loopnest",  # the same records make the same file
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

_numbers = itertools.count()


def colour(impl: str) -> str:
    return COLOURS.get(impl.partition(".")[0], COLOURS["other"])


def mark(index: int) -> str:
    """A gid for an artist that shows record `index`; no two are the same."""
    return f"mark-{index}-{next(_numbers)}"


def marks(indices: Sequence[int]) -> str:
    """A gid for a line whose markers show these records, one after another."""
    return f"marks-{'_'.join(map(str, indices))}-{next(_numbers)}"


@contextmanager
def figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure of so many inches with one pair of axes, in the page's style, and not in matplotlib's global state."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        yield made, made.add_subplot()


def to_svg(made: Any, name: str, title: str) -> str:
    """The SVG element.

    name   begins the ids in it, so that those of two figures do not meet
    title  what a screen reader says it is
    """
    stream = io.StringIO()
    made.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return for_the_page(text[text.index("<svg") :], name, title)


def for_the_page(svg: str, name: str, title: str) -> str:
    """matplotlib's SVG element with the page's colours and font, with ids of its own, and with marks."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="mark-(\d+)-\d+"', r'class="mark" data-r="\1"', svg)
    svg = re.sub(r'id="marks-([\d_]+)-\d+">(.*?<use .*?</g>)', _marked, svg, flags=re.DOTALL)
    used = set(re.findall(r"""(?:url\(#|href="#)([^)"]+)""", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"""(url\(#|href="#)""", rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    for placeholder, variable in VARIABLES.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), svg)  # coordinates, and no figures
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None
    opening = (
        f'<svg viewBox="0 0 {box[1]} {box[2]}" width="{box[1]}" height="{box[2]}" class="figure" role="img" '
        f'aria-label="{html.escape(title)}">'
    )
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    return re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")


def _marked(line: re.Match[str]) -> str:
    """The line with the indices of its records on its markers, which matplotlib writes in their order."""
    indices = iter(line[1].split("_"))
    return ">" + re.sub("<use ", lambda _: f'<use class="mark" data-r="{next(indices)}" ', line[2])
