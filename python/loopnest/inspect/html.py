"""Views as a page: one HTML file that needs no network, with the rows of tables.py in the report's frame.

>>> import loopnest as ln
>>> from loopnest.inspect.html import page
>>> view = ln.matmul["python.naive"].inspect("source")
>>> page([view]).startswith("<!doctype html>")
True
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from .._version import __version__
from ..output import page as pages
from ..output.files import save_text
from .compare import Row
from .records import KINDS, Listing, View
from .tables import MACHINE, facts_of, figure, rows_of, sentence_of, sums_of


def write(views: Sequence[View], path: Path, compared: Sequence[Row] = ()) -> None:
    """Write the page of these views to a file; an existing one is replaced. See `page`."""
    save_text(page(views, compared), path)


def page(views: Sequence[View], compared: Sequence[Row] = ()) -> str:
    """The HTML of one view, or of several side by side.

    compared  for two views, the counts of their hot loops: compare.Comparison.rows

    Raises ValueError without a view.
    """
    if not views:
        raise ValueError("views is empty, expected at least one View")
    title = " and ".join(f"{view.operation} {view.impl}" for view in views)
    second = f" --diff {views[1].impl}" if len(views) > 1 else ""
    command = f"loopnest inspect {views[0].operation} {views[0].impl}{second} --html FILE"
    kinds = {line.kind for view in views for listing in view.listings for line in listing.lines}
    legend = "".join(
        f'<span class="k-{kind}" title="{escape(meaning)}">{_named(kind)}</span>'
        for kind, meaning in KINDS.items()
        if kind in kinds
    )
    cells = [(row.name, figure(row.left), figure(row.right)) for row in compared]
    table = pages.table(cells, ["an iteration has", *(view.impl for view in views)])
    counts = f'<div class="card compared">{table}</div>' if compared else ""
    many = "several" if len(views) > 1 else "one"
    body = f'<main class="{many}"><p class="legend">{legend}</p>{counts}{"".join(map(_view, views))}</main>'
    return pages.page(
        f"loopnest inspect: {title}",
        body,
        heading=title,
        about=" · ".join(dict.fromkeys(part for view in views for part in (view.isa, view.dtype) if part)),
        footer=f"Made by loopnest {__version__}, <code>{escape(command)}</code>.",
        kind="inspect",
        style=pages.text(Path(__file__).with_name("view.css")),
    )


def _named(kind: str) -> str:
    return {"fma": "FMA"}.get(kind, kind)


def _view(view: View) -> str:
    texts = [view.headline, *([sentence_of(view.measured)] if view.measured is not None else [])]
    heading = f"<h2>{escape(f'{view.operation} {view.impl}')}</h2>"  # hidden if it is the page's heading
    listings = "".join(map(_listing, view.listings))
    return f'<section class="view">{heading}{_paragraphs(filter(None, texts))}{listings}</section>'


def _paragraphs(texts: Iterable[str], kind: str = "") -> str:
    return "".join(f'<p class="{kind}">{escape(text)}</p>' for text in texts)


def _listing(listing: Listing) -> str:
    """Its title, its sums and its lines: the hot ones marked, each with its source line or its note."""
    parts, loop = [f"<h3>{escape(listing.title)}</h3>"], listing.loop
    if loop is not None:
        parts.append(_paragraphs(sums_of(loop, listing.language)))
        if loop.bound is not None:
            bars = sorted(((name, n) for name, n in loop.bound.cycles_by.items() if n), key=lambda item: -item[1])
            parts.append(_bars(f"cycles an iteration, {loop.bound.family}", bars))
    parts += [_paragraphs(listing.notes, "note"), _paragraphs(facts_of(listing), "note")]
    if held := listing.facts.get("occupancy"):
        bars = sorted(held["by"].items(), key=lambda item: item[1])
        parts.append(_bars(f"blocks of a multiprocessor of {held['gpu']['name']}, by what would limit them", bars))
    machine = listing.language in MACHINE
    lines = (
        f'<tr class="{"hot " if row.hot else ""}{f"k-{row.kind}" if machine else ""}"><td class="n">{row.place}</td>'
        f"<td><code>{escape(row.text)}</code></td><td>{row.kind if machine else ''}</td>"
        f'<td class="about"><code>{escape(row.about)}</code></td></tr>'
        for row in rows_of(listing)
    )
    parts.append(f'<div class="scroll"><table class="lines">{"".join(lines)}</table></div>')
    return f'<article class="card">{"".join(parts)}</article>'


def _bars(caption: str, values: Sequence[tuple[str, float]]) -> str:
    """Numbers as bars; the first one is the limit."""
    most = max((value for _, value in values), default=0) or 1
    rows = "".join(
        f'<tr{" class=most" if value == values[0][1] else ""}><th scope="row">{escape(name)}</th>'
        f'<td><i style="--part:{100 * value / most:.1f}%"></i></td><td class="number">{value:.3g}</td></tr>'
        for name, value in values
    )
    return f'<details><summary>{escape(caption)}</summary><table class="bars">{rows}</table></details>'
