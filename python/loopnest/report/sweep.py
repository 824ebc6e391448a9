"""A sweep as one HTML page: two pictures, the summary, the bars and the dips."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..bench.sweep import DTYPES, LAYOUTS, SweepResults
from ..bench.sweep_figures import HOW, LEAST_OF_PEER, Measured, all_remarks, measured, sheets
from ..output.files import save_text
from ..output.page import figure, page, table
from ..output.pictures import FAINT, LIMIT, SERIES, Picture

LEADING = ("rows n apart", "rows n + 16 apart", "rows the next power of two apart")


def write(results: SweepResults, path: Path) -> None:
    """Write the page to a file; one that is there already is replaced."""
    save_text(sweep_page(results), path)


def sweep_page(results: SweepResults) -> str:
    """The HTML of a sweep's page."""
    found = measured(results)
    parts = []
    if any(one.of_peer is not None for one in found):
        words = "A point is a shape. Below 1, a peer is faster."
        parts.append(figure(ratios(found), "loopnest as a multiple of the best peer", words))
    squares = [one for one in found if one.point.group == "n"]
    if squares:
        words = "Squares of size n. The grey line is the best peer without gaps between rows."
        parts.append(figure(over_n(squares), "The n sweep", words))
    for sheet in sheets(results):
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in sheet.notes)
        shown = table(sheet.rows, sheet.headings)
        parts.append(f'<h2>{html.escape(sheet.title)}</h2><div class="scroll">{shown}</div>{notes}')
    parts += [f"<p>{html.escape(remark)}</p>" for remark in all_remarks(results)]
    here = results.environment
    machine = f"{here.cpu}, {here.system}, ISA level {here.isa} · " if here else ""
    about = f"{machine}{len(found)} of {len(results.points)} shapes · {HOW}"
    body = "\n".join(["<main>", *parts, "</main>"])
    return page(f"loopnest: a sweep of {results.op}", body, heading="Where are the cliffs?", about=about)


def ratios(found: Sequence[Measured]) -> str:
    """Our speed as a multiple of the best peer's over the flops of a product; a point a product, a colour a layout.

    Over the elements of an operand if it is another operation.
    """
    others = any(one.point.op != "matmul" for one in found)
    layouts, xlabel = (("",), "elements") if others else (LAYOUTS, "flops of a product")
    picture = Picture(10, 3.6, 1, 2, title="ratio to the best peer over flops", sharey=True)
    with picture as axes:
        for axis, dtype in zip(axes[0], DTYPES, strict=True):
            axis.axhline(1, color=FAINT, linewidth=0.8)
            axis.axhline(LEAST_OF_PEER, color=LIMIT, linewidth=0.8, linestyle="--")
            for layout, colour in zip(layouts, SERIES, strict=False):
                some = [one for one in found if (one.point.dtype, one.point.layout) == (dtype, layout) and one.of_peer]
                sizes = [one.point.size for one in some]
                axis.plot(sizes, [one.of_peer for one in some], "o", markersize=3, color=colour, label=layout)
            axis.set(title=dtype, xscale="log", yscale="log", xlabel=xlabel, ylabel="of the best peer")
            _plain_numbers(axis)
        if not others:
            axes[0, 0].legend()
    return picture.svg


def over_n(squares: Sequence[Measured]) -> str:
    """GFLOP/s over n; a line for each distance of the rows."""
    picture = Picture(10, 3.6, 1, 2, title="GFLOP/s over n")
    with picture as axes:
        for axis, dtype in zip(axes[0], DTYPES, strict=True):
            some = sorted((one for one in squares if one.point.dtype == dtype), key=lambda one: one.point.n)
            peer = [(one.point.n, one.best_peer) for one in some if one.point.a_stride == one.point.n and one.best_peer]
            axis.plot(*np.reshape(peer, (-1, 2)).T, color=FAINT, linewidth=1, label="best peer")
            for number, (label, colour) in enumerate(zip(LEADING, SERIES, strict=False)):
                line = [(one.point.n, one.speed) for one in some if _distance(one) == number]
                axis.plot(*np.reshape(line, (-1, 2)).T, "o-", markersize=2.5, linewidth=1, color=colour, label=label)
            axis.set(title=dtype, xscale="log", xlabel="n", ylabel="GFLOP/s")
            axis.set_ylim(bottom=0)
            axis.set_xticks(ticks := [256, 512, 1024, 2048, 4096], [f"{n:,}" for n in ticks], minor=False)
            axis.set_xticks([], minor=True)
        axes[0, 0].legend()
    return picture.svg


def _distance(one: Measured) -> int:
    """Which of LEADING a square has."""
    return {0: 0, 16: 1}.get(one.point.a_stride - one.point.n, 2)


def _plain_numbers(axis: Any) -> None:
    """Labels such as 0.5 and 1.2 in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
