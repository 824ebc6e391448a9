"""Views as a page: one HTML file that needs no network.

>>> import loopnest as ln
>>> from loopnest.inspect.html import page
>>> view = ln.matmul["python.naive"].inspect("source")
>>> page([view]).startswith("<!doctype html>")
True

Source and instructions stand side by side; the line under the pointer, or with the keyboard's focus, lights the lines
that it became, and the other way round. The records alone make the page; view.css and view.js come with it.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from .._version import __version__
from ..output import page as pages
from ..output.files import save_text
from .compare import Row
from .records import KINDS, Line, Listing, SourceLine, View
from .source import source_lines
from .tables import MACHINE, facts_of, figure, number_of, sentence_of, sums_of

AROUND = 3
"""Lines of source shown around those that became something; lines farther away are left out."""

LANGUAGES = {"asm": "assembly", "llvm": "LLVM IR", "ptx": "PTX", "sass": "SASS", "cpp": "C++", "cuda": "CUDA C++",
             "python": "Python", "text": "text"}  # fmt: skip

HOW = """A line under the pointer lights what it became, or what it came from. With the keyboard: Tab to a listing, then
the arrows; Enter goes over to what is lit."""


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
    body = (
        f'<main class="{"several" if len(views) > 1 else "one"}">'
        f'<p class="legend" aria-label="kinds of instructions">{legend}</p><p class="how">{HOW}</p>'
        f"{_compared(views, compared)}{''.join(_view(view, number) for number, view in enumerate(views))}</main>"
    )
    return pages.page(
        f"loopnest inspect: {title}",
        body,
        heading=title,
        about=" · ".join(dict.fromkeys(part for view in views for part in (view.isa, view.dtype) if part)),
        footer=f"Made by loopnest {__version__}, <code>{escape(command)}</code>.",
        kind="inspect",
        style=pages.text(Path(__file__).with_name("view.css")),
        script=pages.text(Path(__file__).with_name("view.js")),
    )


def _named(kind: str) -> str:
    return {"fma": "FMA"}.get(kind, kind)


def _compared(views: Sequence[View], rows: Sequence[Row]) -> str:
    """The counts of two hot loops."""
    cells = [(row.name, figure(row.left), figure(row.right)) for row in rows]
    table = pages.table(cells, ["an iteration has", *(view.impl for view in views)])
    return f'<div class="card compared">{table}</div>' if rows else ""


def _view(view: View, number: int) -> str:
    texts = [view.headline, *([sentence_of(view.measured)] if view.measured is not None else [])]
    parts = [f"<h2>{escape(f'{view.operation} {view.impl}')}</h2>"]  # hidden if it is the page's heading
    parts += [f"<p>{escape(text)}</p>" for text in texts if text]
    parts += [f'<p class="note">{escape(note)}</p>' for note in view.notes]
    # By its number a source line finds its instructions.
    found = dict.fromkeys(line.source for listing in view.listings for line in listing.lines if line.source)
    numbers = {source: n for n, source in enumerate(found)}
    parts += [_listing(listing, numbers, f"{number}-{n}") for n, listing in enumerate(view.listings)]
    return f'<section class="view">{"".join(parts)}</section>'


def _listing(listing: Listing, numbers: Mapping[SourceLine, int], name: str) -> str:
    """Its sums, and below them the source next to the lines, unless these are the source."""
    panes = []
    if listing.language in MACHINE and any(line.source for line in listing.lines):
        panes.append(("source", "the source", _source(numbers, listing.lines)))
    panes.append(("code", LANGUAGES.get(listing.language, listing.language), _lines(listing, numbers)))
    shown = "".join(
        f'<div class="pane {kind}"><h4 id="{kind}-{name}">{title}</h4>'
        f'<ol class="lines" tabindex="0" role="listbox" aria-labelledby="{kind}-{name}">{"".join(lines)}</ol></div>'
        for kind, title, lines in panes
    )
    return (
        f'<article class="card listing"><h3>{escape(listing.title)}</h3>{_summary(listing)}'
        f'<div class="panes panes-{len(panes)}">{shown}</div></article>'
    )


def _summary(listing: Listing) -> str:
    parts, loop = [], listing.loop
    if loop is not None:
        chips = "".join(
            f'<li class="k-{k}"><b>{loop.counts[k]}</b> {_named(k)}</li>' for k in KINDS if k in loop.counts
        )
        parts.append(f'<ul class="counts" aria-label="instructions of the hot loop">{chips}</ul>')
        sums = sums_of(loop, listing.language)[1:]
        if loop.bound is not None:
            parts.append(f'<p class="bound">{escape(sums.pop())}</p>')
            bars = sorted(((name, n) for name, n in loop.bound.cycles_by.items() if n), key=lambda item: -item[1])
            parts.append(_bars(f"cycles an iteration, {loop.bound.family}", bars))
        parts += [f"<p>{escape(line)}</p>" for line in sums]
    parts += [f'<p class="note">{escape(note)}</p>' for note in listing.notes]
    if facts := facts_of(listing):
        rows = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
        parts.append(f'<details class="facts"><summary>facts</summary><ul>{rows}</ul></details>')
    if held := listing.facts.get("occupancy"):
        bars = sorted(held["by"].items(), key=lambda item: item[1])
        parts.append(_bars(f"blocks of a multiprocessor of {held['gpu']['name']}, by what would limit them", bars))
    return f'<div class="summary">{"".join(parts)}</div>'


def _bars(caption: str, values: Sequence[tuple[str, float]]) -> str:
    """Numbers as bars; the first one is the limit."""
    most = max((value for _, value in values), default=0) or 1
    rows = "".join(
        f'<tr{" class=most" if value == values[0][1] else ""}><th scope="row">{escape(name)}</th>'
        f'<td><i style="--part:{100 * value / most:.1f}%"></i></td><td class="number">{value:.3g}</td></tr>'
        for name, value in values
    )
    return f'<details><summary>{escape(caption)}</summary><table class="bars">{rows}</table></details>'


# --- lines


def _lines(listing: Listing, numbers: Mapping[SourceLine, int]) -> Iterator[str]:
    machine = listing.language in MACHINE
    for n, line in enumerate(listing.lines):
        kind = f"k-{line.kind}" if line.kind in KINDS else line.kind
        classes = [kind if machine else "", "hot" if line.hot else ""]
        place = f"{line.address:x}" if line.address is not None else "" if machine else number_of(listing, n)
        title = f"{line.source[0].rpartition('/')[2]}:{line.source[1]}" if line.source and machine else ""
        after = f'<em class="became">{escape(line.note)}</em>' if line.note else ""
        yield _line(classes, place, line.text, numbers.get(line.source) if line.source else None, title, after=after)


def _line(
    classes: Iterable[str],
    place: str,
    text: str,
    source: int | None,
    title: str = "",
    before: str = "",
    after: str = "",
) -> str:
    names = {"class": " ".join(filter(None, classes)), "data-s": source, "title": escape(title)}
    attributes = "".join(f' {name}="{value}"' for name, value in names.items() if value not in ("", None))
    code = f"<code>{escape(text)}</code>"
    return f'<li role="option"{attributes}><span class="n">{place}</span>{before}{code}{after}</li>'


def _source(numbers: Mapping[SourceLine, int], lines: Sequence[Line]) -> Iterator[str]:
    """The source lines that became something and those around them, file by file, the hot loop's file first."""
    became = Counter(line.source for line in lines if line.source)
    hot = Counter(line.source for line in lines if line.hot and line.source)
    files: dict[str, list[int]] = {}
    for file, number in became:
        files.setdefault(file, []).append(number)

    def order(file: str) -> tuple[int, int]:
        return -sum(hot[file, n] for n in files[file]), -sum(became[file, n] for n in files[file])

    for file in sorted(files, key=order):
        written = source_lines(file)
        yield f'<li class="file" role="presentation">{escape(file)}</li>'
        if not written:
            yield '<li class="gap" role="presentation">the file is not on this machine</li>'
        near = {at for number in files[file] for at in range(number - AROUND, number + AROUND + 1)}
        shown = sorted(at for at in near if 0 < at <= (len(written) or max(files[file])))
        texts = textwrap.dedent("\n".join(written[at - 1] if written else "" for at in shown)).split("\n")
        for at, text, before in zip(shown, texts, [shown[0] - 1, *shown], strict=False):
            if at != before + 1:
                yield '<li class="gap" role="presentation">⋯</li>'
            count = became[file, at]
            badge = f'<span class="made" title="instructions">{count or ""}</span>'
            classes = ["" if count else "idle", "hot" if hot[file, at] else ""]
            yield _line(classes, str(at), text, numbers.get((file, at)), before=badge)
