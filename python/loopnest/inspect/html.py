"""Views as one page, an HTML file that needs no network and no other file.

>>> import loopnest as ln
>>> from loopnest.inspect.html import page
>>> view = ln.matmul["python.naive"].inspect("source")
>>> page([view]).startswith("<!doctype html>")
True

Source and instructions stand beside each other; a line that has the pointer or the keyboard's focus lights those that
it became, and they it. It is made from the records alone: page.html, view.css and view.js are what is around them, and
output/page.css is its look.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .._version import __version__
from ..output.files import save_text
from ..output.page import fill, text
from ..output.pictures import css_variables
from .compare import Row
from .records import KINDS, Bound, Line, Listing, SourceLine, View
from .source import source_lines
from .tables import MACHINE, facts_of, number_of, sentence_of, sums_of

OUTPUT = Path(__file__).parents[1] / "output"

AROUND = 3
"""Lines of source that are shown around those that became something; what lies farther from all is left out."""

LANGUAGES = {"asm": "assembly", "llvm": "LLVM IR", "ptx": "PTX", "sass": "SASS", "cpp": "C++", "cuda": "CUDA C++",
             "python": "Python", "text": "text"}  # fmt: skip


def write(views: Sequence[View], path: Path, compared: Sequence[Row] = ()) -> None:
    """Write the page of these views to a file; one that is there already is replaced. See `page`."""
    save_text(page(views, compared), path)


def page(views: Sequence[View], compared: Sequence[Row] = ()) -> str:
    """The HTML of one view, or of several beside each other.

    compared  of two, what their hot loops have: compare.Comparison.rows

    Raises ValueError where there is no view.
    """
    if not views:
        raise ValueError("views is empty, expected at least one View")
    title = " and ".join(f"{view.operation} {view.impl}" for view in views)
    kinds = {line.kind for view in views for listing in view.listings for line in listing.lines} & set(KINDS)
    return fill(
        Path(__file__).with_name("page.html"),
        title=html.escape(f"loopnest inspect: {title}"),
        heading=html.escape(title),
        about=html.escape(_about(views)),
        legend="".join(_legend(kinds)),
        compared=_compared(views, compared),
        views="\n".join(_view(view, number) for number, view in enumerate(views)),
        many="several" if len(views) > 1 else "one",
        footer=f"Made by loopnest {__version__}, <code>{html.escape(_command(views))}</code>.",
        style=css_variables() + text(OUTPUT / "page.css") + text(Path(__file__).with_name("view.css")),
        script=text(Path(__file__).with_name("view.js")),
    )


def _about(views: Sequence[View]) -> str:
    return " · ".join(dict.fromkeys(part for view in views for part in (view.isa, view.dtype) if part))


def _command(views: Sequence[View]) -> str:
    second = f" --diff {views[1].impl}" if len(views) > 1 else ""
    return f"loopnest inspect {views[0].operation} {views[0].impl}{second} --html FILE"


def _compared(views: Sequence[View], rows: Sequence[Row]) -> str:
    """What the hot loops of two have, a row for each thing that is counted."""
    if not rows:
        return ""
    names = "".join(f'<th scope="col">{html.escape(view.impl)}</th>' for view in views)
    cells = "".join(
        f'<tr{"" if row.left == row.right else " class=differs"}><th scope="row">{html.escape(row.name)}</th>'
        f"<td>{_figure(row.left)}</td><td>{_figure(row.right)}</td></tr>"
        for row in rows
    )
    head = f'<thead><tr><th scope="col">an iteration has</th>{names}</tr></thead>'
    return f'<div class="card compared"><table>{head}<tbody>{cells}</tbody></table></div>'


def _figure(value: float | str) -> str:
    return html.escape(value) if isinstance(value, str) else f"{value:g}"


def _legend(kinds: set[str]) -> Iterator[str]:
    for kind, meaning in KINDS.items():
        if kind in kinds:
            yield f'<span class="k-{kind}" title="{html.escape(meaning)}">{_named(kind)}</span>'


def _named(kind: str) -> str:
    return {"fma": "FMA"}.get(kind, kind)


def _view(view: View, number: int) -> str:
    parts = [f"<h2>{html.escape(f'{view.operation} {view.impl}')}</h2>"]  # hidden where it is the page's heading
    if view.headline:
        parts.append(f"<p>{html.escape(view.headline)}</p>")
    if view.measured is not None:
        parts.append(f"<p>{html.escape(sentence_of(view.measured))}</p>")
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in view.notes]
    numbers = _numbers(line for listing in view.listings for line in listing.lines)
    parts += [_listing(listing, numbers, f"{number}-{n}") for n, listing in enumerate(view.listings)]
    return f'<section class="view">{"".join(parts)}</section>'


def _listing(listing: Listing, numbers: Mapping[SourceLine, int], name: str) -> str:
    """What it adds up to, and below it the source beside the lines, where they are not the source themselves."""
    panes = []
    if listing.language in MACHINE and any(line.source for line in listing.lines):
        panes.append(_pane("source", "the source", "".join(_source(numbers, listing.lines)), name))
    told = LANGUAGES.get(listing.language, listing.language)
    panes.append(_pane("code", told, "".join(_lines(listing, numbers)), name))
    return (
        f'<article class="card listing" data-language="{listing.language}"><h3>{html.escape(listing.title)}</h3>'
        f'{_summary(listing)}<div class="panes panes-{len(panes)}">{"".join(panes)}</div></article>'
    )


def _summary(listing: Listing) -> str:
    parts = []
    if listing.loop is not None:
        counts = [(kind, n) for kind, n in listing.loop.counts.items() if kind in KINDS]
        chips = "".join(f'<li class="k-{kind}"><b>{n}</b> {_named(kind)}</li>' for kind, n in counts)
        parts.append(f'<ul class="counts" aria-label="instructions of the hot loop">{chips}</ul>')
        told = sums_of(listing.loop, listing.language)
        if listing.loop.bound is not None:
            parts.append(f'<p class="bound">{html.escape(told.pop())}</p>{_bars(listing.loop.bound)}')
        parts += [f"<p>{html.escape(line)}</p>" for line in told[1:]]
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in listing.notes]
    facts = facts_of(listing)
    if facts:
        rows = "".join(f"<li>{html.escape(fact)}</li>" for fact in facts)
        parts.append(f'<details class="facts"><summary>facts</summary><ul>{rows}</ul></details>')
    held = listing.facts.get("occupancy")
    if isinstance(held, Mapping):
        parts.append(_occupancy(held))
    return f'<div class="summary">{"".join(parts)}</div>'


def _bars(bound: Bound) -> str:
    """What each resource takes of an iteration, as bars; the longest is the bound."""
    most = max(bound.cycles_by.values(), default=0)
    rows = [
        f'<tr{" class=most" if name == bound.name else ""}><th scope="row">{html.escape(name)}</th>'
        f'<td><i style="--part:{100 * cycles / most:.1f}%"></i></td><td class="number">{cycles:.3g}</td></tr>'
        for name, cycles in sorted(bound.cycles_by.items(), key=lambda item: -item[1])
        if cycles
    ]
    head = f"<caption>cycles an iteration, {html.escape(bound.family)}</caption>"
    return f'<details><summary>what takes how long</summary><table class="bars">{head}{"".join(rows)}</table></details>'


def _occupancy(held: Mapping[str, object]) -> str:
    """How many blocks each resource of a multiprocessor allows."""
    by = held.get("by")
    if not isinstance(by, Mapping):
        return ""
    most, blocks = max(by.values(), default=1) or 1, held.get("blocks")
    rows = "".join(
        f'<tr{" class=most" if n == blocks else ""}><th scope="row">{html.escape(str(name))}</th>'
        f'<td><i style="--part:{100 * n / most:.1f}%"></i></td><td class="number">{n}</td></tr>'
        for name, n in sorted(by.items(), key=lambda item: item[1])
    )
    gpu = html.escape(f"{held.get('gpu')}")
    caption = f"<caption>blocks of a multiprocessor of {gpu}, by what would limit them</caption>"
    return f'<details open><summary>occupancy</summary><table class="bars">{caption}{rows}</table></details>'


def _pane(kind: str, title: str, lines: str, name: str) -> str:
    return (
        f'<div class="pane {kind}"><h4 id="{kind}-{name}">{html.escape(title)}</h4>'
        f'<ol class="lines" tabindex="0" role="listbox" aria-labelledby="{kind}-{name}">{lines}</ol></div>'
    )


# --- lines


def _numbers(lines: Iterable[Line]) -> dict[SourceLine, int]:
    """A number for each source line that became something, by which the page finds its instructions."""
    return {source: n for n, source in enumerate(dict.fromkeys(line.source for line in lines if line.source))}


def _lines(listing: Listing, numbers: Mapping[SourceLine, int]) -> Iterator[str]:
    machine = listing.language in MACHINE
    for n, line in enumerate(listing.lines):
        kind = f"k-{line.kind}" if line.kind in KINDS else line.kind
        classes = " ".join(part for part in (kind if machine else "", "hot" if line.hot else "") if part)
        place = f"{line.address:x}" if line.address is not None else "" if machine else number_of(listing, n)
        title = f"{line.source[0].rpartition('/')[2]}:{line.source[1]}" if line.source and machine else ""
        source = numbers.get(line.source) if line.source else None
        yield _line(classes, place, line.text, source, title, note=line.note)


def _line(
    classes: str, place: str, text: str, source: int | None, title: str = "", more: str = "", note: str = ""
) -> str:
    of = f' class="{classes}"' if classes else ""
    key = f' data-s="{source}"' if source is not None else ""
    told = f' title="{html.escape(title)}"' if title else ""
    became = f'<em class="became">{html.escape(note)}</em>' if note else ""
    code = f"<code>{html.escape(text)}</code>{became}"
    return f'<li role="option"{of}{key}{told}><span class="n">{place}</span>{more}{code}</li>'


def _source(numbers: Mapping[SourceLine, int], lines: Sequence[Line]) -> Iterator[str]:
    """The source lines that became something and those around them, file by file; that of the hot loop comes first."""
    became: dict[SourceLine, int] = {}
    hot = {line.source for line in lines if line.hot}
    for line in lines:
        if line.source:
            became[line.source] = became.get(line.source, 0) + 1
    by_file: dict[str, list[int]] = {}
    for file, number in became:
        by_file.setdefault(file, []).append(number)
    in_loop = [line.source[0] for line in lines if line.hot and line.source]
    order = sorted(by_file, key=lambda file: (-in_loop.count(file), -sum(became[file, n] for n in by_file[file])))
    for file in order:
        written = source_lines(file)
        yield f'<li class="file" role="presentation">{html.escape(file)}</li>'
        if not written:
            yield '<li class="gap" role="presentation">the file is not on this machine</li>'
        near = {at for number in by_file[file] for at in range(number - AROUND, number + AROUND + 1)}
        shown = sorted(at for at in near if 0 < at <= (len(written) or max(by_file[file])))
        texts = textwrap.dedent("\n".join(written[at - 1] if written else "" for at in shown)).split("\n")
        before = shown[0] - 1 if shown else 0
        for at, words in zip(shown, texts, strict=True):
            if at != before + 1:
                yield '<li class="gap" role="presentation">⋯</li>'
            before = at
            source = (file, at)
            count = became.get(source, 0)
            badge = f'<span class="made" title="instructions">{count or ""}</span>'
            classes = " ".join(part for part in ("" if count else "idle", "hot" if source in hot else "") if part)
            yield _line(classes, str(at), words, numbers.get(source), more=badge)
