"""Records in notebooks: what the terminal prints, as HTML in this project's palette, on dark and light pages.

>>> from rich.text import Text
>>> printed(Text("a < b", style="bold red"))
'<pre><span style="color:var(--limit);font-weight:600">a &lt; b</span></pre>'
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from .pictures import css_variables

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.style import Style

    Report = TypeVar("Report", bound=Callable[..., Iterable[RenderableType]])

WIDTH = 110
"""Characters in a line of what is printed."""

COLOURS = {
    "red": "limit",
    "green": "cuda",
    "yellow": "warn-ink",
    "blue": "accent",
    "magenta": "torch",
    "cyan": "numba",
}
"""The palette's names for a terminal's colours."""

STYLE = (  # important: otherwise Jupyter's own style would win
    css_variables(".loopnest", '[data-jp-theme-light="{}"] .loopnest', ("true", "false"))
    + """
.loopnest { background: var(--card); color: var(--ink); border: 1px solid var(--line);
  border-radius: 8px; padding: 0.8rem; }
.loopnest h4 { margin: 0 0 0.3rem; color: inherit; }
.loopnest p { margin: 0.3rem 0 0.6rem; font-size: 0.85rem; color: var(--faint); }
.loopnest pre { margin: 0; padding: 0; background: none; color: inherit; overflow-x: auto; white-space: pre;
  word-break: normal; font: 0.82rem/1.4 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
.loopnest pre.lesson { white-space: pre-wrap; margin: 0 0 0.6rem; }
.loopnest table { border-collapse: collapse; margin: 0; color: inherit; font-size: 0.85rem; }
.loopnest th, .loopnest td { text-align: left !important; padding: 0.2rem 0.6rem 0.2rem 0; vertical-align: top; }
.loopnest tbody tr { background: none !important; border-top: 1px solid var(--line); }
.loopnest td:first-child { white-space: nowrap; }
.loopnest summary { cursor: pointer; color: var(--accent); }
"""
)


def block(*parts: str) -> str:
    """Pieces of HTML as one, which brings its own colours: it is readable on any page."""
    return f'<div class="loopnest"><style>{STYLE}</style>{"".join(parts)}</div>'


def printed(*parts: RenderableType) -> str:
    """What a terminal shows of these, as HTML: text is escaped, and colours are the palette's."""
    from rich.console import Console, Group

    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, force_jupyter=False)
    lines = console.render_lines(Group(*parts), pad=False)
    text = "\n".join("".join(_span(part.text, part.style) for part in line).rstrip() for line in lines)
    return f"<pre>{text}</pre>"


def _span(text: str, style: Style | None) -> str:
    css = []
    if style and text.strip():
        colour = style.color.name.removeprefix("bright_") if style.color else ""
        if name := COLOURS.get(colour) or ("faint" if style.dim else ""):
            css.append(f"color:var(--{name})")
        css += ["font-weight:600"] * bool(style.bold)
    shown = html.escape(text)
    return f'<span style="{";".join(css)}">{shown}</span>' if css else shown


def shows(record: type) -> Callable[[Report], Report]:
    """A decorator of the function that makes a record's report for the terminal: notebooks then show it, too."""

    def decorate(report: Report) -> Report:
        record._repr_html_ = lambda self: block(printed(*report(self)))  # type: ignore[attr-defined]
        return report

    return decorate
