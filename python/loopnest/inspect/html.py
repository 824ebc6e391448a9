"""A view as a page: one HTML file that needs no network, with the parts of tables.py in the report's frame.

>>> import loopnest as ln
>>> from loopnest.inspect.html import page
>>> page(ln.matmul["python.naive"].inspect("source")).startswith("<!doctype html>")
True
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from .._version import __version__
from ..output import page as pages
from ..output.files import save_text
from .compare import Comparison
from .records import Listing, View
from .tables import figure, parts_of, rows_of


def write(shown: View | Comparison, path: Path) -> None:
    """Write the page of a view, or of two compared, to a file; an existing one is replaced."""
    save_text(page(shown), path)


def page(shown: View | Comparison) -> str:
    """The HTML of a view, or of two side by side below the counts of their loops."""
    views, counts = [shown] if isinstance(shown, View) else [shown.left, shown.right], ""
    if isinstance(shown, Comparison):
        cells = [(name, *map(figure, both)) for name, both in shown.counts.items()]
        table = pages.table(cells, ["an iteration has", *(view.impl for view in views)])
        counts = f'<div class="card compared">{table}</div>'
    title = " and ".join(f"{view.operation} {view.impl}" for view in views)
    sections = (f'<section class="view">{"".join(_parts(view))}</section>' for view in views)
    return pages.page(
        f"loopnest inspect: {title}",
        f'<main class="{"several" if counts else "one"}">{counts}{"".join(sections)}</main>',
        heading=title,
        footer=f"Made by loopnest {__version__}, <code>loopnest inspect</code>.",
        kind="inspect",
        style=pages.text(Path(__file__).with_name("view.css")),
    )


def _parts(view: View) -> Iterator[str]:
    for part in parts_of(view):
        if isinstance(part, Listing):
            rows = (
                f'<tr class="{"hot " * row.hot}k-{row.kind}"><td class="n">{row.place}</td>'
                f"<td><code>{escape(row.text)}</code></td><td>{row.kind}</td>"
                f'<td class="about"><code>{escape(row.about)}</code></td></tr>'
                for row in rows_of(part)
            )
            yield f'<div class="scroll"><table class="lines">{"".join(rows)}</table></div>'
        elif part[1]:
            kind, words = part
            tag = {"title": "h2", "listing": "h3"}.get(kind, "p")
            yield f'<{tag} class="{kind}">{escape(words)}</{tag}>'
