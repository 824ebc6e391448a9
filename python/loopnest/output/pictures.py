"""matplotlib's figures as small SVG files that stand alone: on white, their text as text, the same file every time."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

INK, FAINT, GRID, LIMIT = "#1c1e21", "#5d646d", "#d9dbd6", "#c2255c"
SERIES = ("#3b7dd8", "#e8710a", "#12a08a", "#8d5bd1", "#c2255c", "#8a8f98", "#6f9a10")
"""The colours of lines that belong to no backend."""

BACKENDS = {
    "python": "#8a8f98",
    "numpy": "#3b7dd8",
    "numba": "#12a08a",
    "cuda": "#6f9a10",
    "cuda_cpp": "#a3b818",
    "cpp": "#e8710a",
    "torch": "#8d5bd1",
}
"""The report's colours (report/page.css)."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and it can be searched
    "svg.hashsalt": "loopnest",
    "path.simplify_threshold": 0.3,  # of a pixel: long curves lose points that nobody sees
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": "#b9bcb6",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "image.cmap": "RdBu_r",
}


class Picture:
    """A figure with `rows` x `columns` axes, in this style and not in matplotlib's global state.

    width, height  in inches of 72 units
    title          what a screen reader says it is

    >>> picture = Picture(4, 3, title="a line")
    >>> with picture as axes:
    ...     _ = axes[0, 0].plot([1, 2, 3])
    >>> picture.svg.startswith("<svg")
    True
    """

    def __init__(self, width: float, height: float, rows: int = 1, columns: int = 1, *, title: str, **how: Any) -> None:
        self._size, self._grid, self._title, self._how = (width, height), (rows, columns), title, how
        self.svg = ""

    def __enter__(self) -> Any:
        import matplotlib
        from matplotlib.figure import Figure

        self._style = matplotlib.rc_context(STYLE)
        self._style.__enter__()
        self.figure = Figure(figsize=self._size, layout="constrained")
        return self.figure.subplots(*self._grid, squeeze=False, **self._how)

    def __exit__(self, error: Any, *rest: Any) -> None:
        try:
            if error is None:
                stream = io.StringIO()
                self.figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
                self.svg = _small(stream.getvalue(), self._title)
        finally:
            self._style.__exit__(error, *rest)


def _small(svg: str, title: str) -> str:
    """matplotlib's file without metadata, with two decimals for coordinates, and a name for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"(?s)<metadata>.*?</metadata>|<!--.*?-->", "", svg)
    svg = re.sub(r"<(?!image)[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    name = html.escape(title)
    return (
        re.sub("<svg ([^>]*)>", rf'<svg \1 role="img" aria-label="{name}"><title>{name}</title>', svg, count=1) + "\n"
    )


def page(title: str, svgs: list[str], *, paragraphs: Sequence[str] = (), table: str = "") -> str:
    """One HTML file with these pictures, which needs no network and no other file.

    paragraphs  prose below them
    table       lines of text, as they are
    """
    name = html.escape(title)
    figures = "\n".join(f"<figure>{svg}</figure>" for svg in svgs)
    words = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)
    words += f"<pre>{html.escape(table)}</pre>" if table else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="loopnest">
<title>{name}</title>
<style>
body {{ margin: 2rem auto; max-width: 52rem; padding: 0 1rem; font-family: system-ui, sans-serif; line-height: 1.5; }}
body {{ color: {INK}; background: #fff; }}
h1 {{ font-size: 1.4rem; }}
figure {{ margin: 1rem 0; }}
figure svg {{ max-width: 100%; height: auto; }}
pre {{ overflow-x: auto; line-height: 1.2; }}
</style>
<h1>{name}</h1>
{figures}
{words}
</html>
"""
