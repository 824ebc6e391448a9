"""What did a run show? One HTML page that needs no network and no other file.

Comes in: the results of a run. Goes out: the page. findings.py writes the sentences, figures.py draws, and
report.html, report.css and report.js are the parts that only this page has. sweep.py makes the page of a sweep,
watch.py the page of `loopnest watch`. output/page.py is the frame of all pages.

>>> from pathlib import Path
>>> from loopnest.bench.records import Results
>>> from loopnest.report import write
>>> write(Results.load(Path("results.json")), Path("report.html"))      # doctest: +SKIP
"""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .._version import __version__
from ..bench import explain, gpu
from ..bench.records import Record, Results
from ..bench.tables import beyond, never_run, taken_on
from ..inspect import provider_of
from ..machine.records import MachineCard
from ..machine.tables import sheets
from ..operations import OPERATIONS
from ..output.files import save_text
from ..output.page import figure, fill, table
from ..output.page import page as framed
from ..output.pictures import LIGHT
from ..output.tables import Sheet
from ..output.text import counted
from .figures import PARTS, Figure, Indexed, figures
from .findings import LINE, findings

HERE = Path(__file__).parent


def why_not_here() -> str | None:
    """Which package a report lacks and how to get it, or None where it has all."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed, and reports need it: pip install 'loopnest[bench]'"
    return None


def write(results: Results, path: Path) -> None:
    """Write the report of a run to an HTML file; one that is there already is replaced. See `page`."""
    save_text(page(results), path)


def page(results: Results) -> str:
    """The HTML of the report of a run. Raises ValueError where it has no records, and no checks of a GPU either."""
    if not (results.records or results.checks or results.rehearsed):
        raise ValueError("results is a run without records: there is nothing to report")
    card = results.machine
    line = card.caches[0].line if card and card.caches else LINE
    drawn = figures(Indexed(results.records), card)
    shown = {part: _grid(part, drawn) for part in PARTS}
    what = ", ".join(dict.fromkeys(record.suite for record in results.records)) or "gpu"
    body = fill(
        HERE / "report.html",
        warnings=_warnings(results),
        findings="\n".join(_findings(results.records, line, {part for part in PARTS if shown[part]})),
        key="".join(_key(results.records)),
        **shown,
        machine=_machine(results, card),
        not_run=_not_run(results),
    )
    return framed(
        f"loopnest: {what}, {_when(results)}",
        body,
        heading=_heading(results.records),
        about=_about(results),
        footer=_footer(results),
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=(HERE / "report.js").read_text(encoding="utf-8"),
        data=_data(results.records),
    )


# --- the parts of the page


def _grid(part: str, drawn: Sequence[Figure]) -> str:
    own = [f for f in drawn if f.part == part]
    return "".join(figure(f.svg, f.title, f.note, f'data-operation="{f.operation}"') for f in own)


def _when(results: Results) -> str:
    return f"{datetime.fromisoformat(results.datetime):%Y-%m-%d %H:%M} UTC"


def _heading(records: Sequence[Record]) -> str:
    """What was measured: the operations, at most three by name."""
    names = list(dict.fromkeys(record.operation for record in records))
    if not names:
        return "Are the GPU's rungs right?"
    if len(names) == 1:
        return f"How fast is each way of computing {names[0]}, and why?"
    others = [f"{len(names) - 3} more operations"] if len(names) > 4 else names[3:]
    *first, last = [*names[:3], *others]
    return f"How fast is each way of computing {', '.join(first)} and {last}, and why?"


def _about(results: Results) -> str:
    here, card = results.environment, results.machine
    where = f" on {here.cpu}, {counted(here.cores, 'core')}" if here else ""
    where = f" on {card.cpu}" if card and card.is_gpu else where
    return f"{len(results.records)} results, measured{where}, {_when(results)}"


def _footer(results: Results) -> str:
    """How it was measured, for those who want to know."""
    parts = [taken_on(results.environment)] if results.environment else []
    parts += [results.conditions.sentence()] if results.conditions else []
    parts.append(f"Made by loopnest {__version__}, `loopnest report`. Every figure is in the results' JSON file.")
    return "<br>".join(map(html.escape, parts))


def _warnings(results: Results) -> str:
    warnings = list(results.environment.warnings) if results.environment else []
    warnings += results.conditions.load.warnings() if results.conditions else ()
    warnings += [beyond(record) for record in results.records if record.beyond_limit]
    if results.rehearsed:
        warnings.append("Rehearsed: simulations on the CPU stood in the GPU's place, and nothing was timed.")
    if results.interrupted:
        warnings.append("The run was interrupted. The page has what was measured until then.")
    paragraphs = [html.escape(warning) for warning in warnings]
    if results.failures:
        count = len(results.failures)
        rows = table((failure.name, failure.message) for failure in results.failures)
        what = f"{counted(count, 'benchmark')} failed"
        paragraphs.append(f"<details><summary>{what}</summary>{rows}</details>")
    shown = "".join(f"<div>{paragraph}</div>" for paragraph in paragraphs)
    return f'<div class="warnings">{shown}</div>' if shown else ""


def _findings(records: Sequence[Record], line: int, parts: Collection[str]) -> Iterator[str]:
    for finding in findings(records, line):
        link = f' <a href="#{finding.about}">more</a>' if finding.about in parts else ""
        yield (
            f'<li><span class="claim">{html.escape(finding.claim)}</span>'
            f'<span class="reason">{html.escape(finding.reason)}{link}</span></li>'
        )


def _key(records: Sequence[Record]) -> Iterator[str]:
    for backend in dict.fromkeys(r.impl.partition(".")[0] for r in records):
        name = backend.replace("_", "-")
        yield f'<span style="--colour:var(--{name if name in LIGHT else "other"})">{html.escape(backend)}</span>'
    if any(r.limit for r in records):
        yield '<span style="--colour:var(--limit)">the machine’s limit</span>'


def _machine(results: Results, card: MachineCard | None) -> str:
    here = results.environment
    cards = sheets(card) if card else []
    if here:
        cards.append(Sheet("Versions", (), list(here.versions.items())))
        cards.append(
            Sheet("Threads", (), tuple((pool.owner, str(pool).removeprefix(pool.owner)) for pool in here.pools))
        )
    cards += gpu.sheets(results)
    if card and card.warnings:
        cards.append(Sheet("Warnings", (), [(warning,) for warning in card.warnings]))
    return "".join(
        f'<div class="card"><h3>{html.escape(sheet.title)}</h3>{table(sheet.rows, sheet.headings)}'
        f"<p>{html.escape(' '.join(sheet.notes))}</p></div>"
        for sheet in cards
    )


def _not_run(results: Results) -> str:
    reasons = never_run(results)
    if not reasons:
        return ""
    rows = table((reason, "; ".join(names)) for reason, names in reasons.items())
    return f'<details><summary>What was not run, and why</summary><div class="card">{rows}</div></details>'


# --- what the page's script gets

COLUMNS = (
    *("suite", "study", "section", "operation", "impl", "workload", "case", "dtype", "flops", "bytes", "threads"),
    *("first_call", "best", "median", "gflops", "gbytes", "percent"),
)
"""Of a record, as it is in the JSON file."""


def _data(records: Sequence[Record]) -> dict[str, Any]:
    """The records, and the rungs' texts."""
    rows, rungs = [], dict[str, dict[str, str]]()
    for r in records:
        limit = (r.limit.seconds, r.limit.by, r.limit.level) if r.limit else (None, "", "")
        rows.append([*(getattr(r, name) for name in COLUMNS), *limit, r.beyond_limit, _moved(r)])
        key, installed = f"{r.operation} {r.impl}", OPERATIONS.get(r.operation, ())
        k = next((k for k in installed if k.id == r.impl), None)
        if k and key not in rungs:
            provider = provider_of(k.backend)
            inspected = provider is not None and "hot" in provider.SHOWS
            command = f"loopnest inspect {key}" if inspected else ""
            rungs[key] = {"lesson": k.lesson, "source": k.source(), "command": command}
    return {"columns": [*COLUMNS, "limit", "by", "level", "wrong", "traffic"], "rows": rows, "rungs": rungs}


def _moved(record: Record) -> dict[str, str] | None:
    """The bytes that cross between two levels, as text, by the levels; None where nothing was simulated."""
    traffic = record.traffic
    if traffic is None:
        return None
    crossing = {f"{level}–{traffic.below(level)}": explain.size(traffic.bytes(level)) for level in traffic.levels}
    return crossing | ({"simulated": traffic.how} if traffic.how else {})
