"""The report: a run as one HTML file, which needs no network and no other file.

>>> from pathlib import Path
>>> from loopnest.bench.files import load
>>> from loopnest.report import write
>>> write([load(Path("results.json"))], Path("report.html"))      # doctest: +SKIP

It is made from the records alone: findings.py says in sentences what they show, figures.py draws them, and page.html,
page.css and page.js are the page around that. The page's script has the records too, for its table and its tips.
"""

from __future__ import annotations

import dataclasses
import html
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .._version import __version__
from ..backends import BACKENDS
from ..bench.records import Record, Results
from ..machine.card import MachineCard
from ..operations import OPERATIONS
from ..output.files import save_text
from ..output.page import fill, text
from ..output.text import three_digits
from . import roof, touched
from .figures import Figure, Indexed, figures
from .findings import LINE, findings
from .inside import Inside, Rung, command_of, look_inside


def why_not_here() -> str | None:
    """Which package a report lacks and how to get it, or None where it has all."""
    if importlib.util.find_spec("matplotlib") is None:
        return "matplotlib is not installed, and reports need it: pip install 'loopnest[bench]'"
    return None


def write(
    results: Sequence[Results],
    path: Path,
    *,
    inspect: bool = False,
    on_event: Callable[[str, Any], None] | None = None,
) -> None:
    """Write the report of these runs to an HTML file; one that is there already is replaced.

    results   one run or several: of a benchmark that several have, the last one's record counts
    inspect   look into the rungs too: their hot loops are then in the report, and a page of each in a folder beside it
    on_event  is called as the rungs are inspected: see inside.look_inside

    Raises ValueError where they have no records.
    """
    if not inspect:
        save_text(page(results), path)
        return
    from ..inspect import InspectError
    from ..inspect.elf import why_not_here as no_reader

    if missing := no_reader():
        raise InspectError(missing)
    merged, _ = merge(results)
    isa = merged.environment.isa if merged.environment else None
    found, _ = look_inside(merged.records, path, isa if isa in ("v1", "v3", "v4") else None, on_event)
    save_text(page(results, found), path)


def page(results: Sequence[Results], insides: Mapping[Rung, Inside] | None = None) -> str:
    """The HTML of the report of these runs, with what was seen inside of their rungs. See `write`."""
    merged, notes = merge(results)
    if not merged.records:
        raise ValueError("results is a run without records: there is nothing to report")
    records = Indexed(merged.records)
    card = _card(merged)
    line = card.caches[0].line if card and card.caches else LINE
    drawn = figures(records)
    layout = _of(drawn, "layout")
    parts = [
        ("layout", "Memory layout", [*layout, *(_pictures() if layout else ())]),
        ("roofline", "The roofline", _roofline(card, records)),
        ("ladders", "The ladders", _of(drawn, "ladders")),
        ("vectorization", "Vectorization", _of(drawn, "vectorization")),
        ("sizes", "Speed by size", _of(drawn, "sizes")),
        ("calls", "What a call costs", _of(drawn, "calls")),
    ]
    shown = [(name, title, made) for name, title, made in parts if made]
    machine = _machine(merged, card)
    sections = {name: _part(name, title, made) for name, title, made in shown} | {"machine": machine}
    named = [*((name, title) for name, title, _ in shown), ("machine", "The machine")]
    links = [*named, ("rungs", "The rungs"), ("table", "All results")]
    what = ", ".join(dict.fromkeys(record.suite for record in merged.records))
    when = _when(merged.datetime)
    return fill(
        Path(__file__).with_name("page.html"),
        title=f"loopnest: {what}, {when}",
        heading="How fast is each way of writing it, and why?",
        about=_about(merged, when),
        warnings=_warnings(merged, notes),
        nav="".join(f'<a href="#{name}">{title}</a>' for name, title in [("findings", "What was found"), *links]),
        findings="\n".join(_findings(merged.records, line, {name for name, _ in links})),
        key="".join(_key(merged.records)),
        parts="\n".join(sections[name] for name, _ in named),
        rungs="\n".join(_rungs(merged.records, insides or {})),
        not_run=_not_run(merged),
        footer=f"Made by loopnest {__version__}, `loopnest report`. Every figure is in the results' JSON file.",
        style=text(Path(__file__).with_name("page.css")),
        script=text(Path(__file__).with_name("page.js")),
        data=_data(merged.records, insides or {}),
    )


def merge(results: Sequence[Results]) -> tuple[Results, list[str]]:
    """One run of several: of a benchmark that several have, the last record. And what makes that doubtful."""
    if not results:
        raise ValueError("results is empty, expected at least one run")
    if len(results) == 1:
        return results[0], []
    notes = []
    cpus = {(r.environment.cpu, r.environment.cores) for r in results if r.environment}
    if len(cpus) > 1:
        names = " and ".join(sorted(f"{cpu} ({cores} cores)" for cpu, cores in cpus))
        notes.append(f"the results are from several machines: {names}")
    records = {(record.suite, record.name): record for run in results for record in run.records}
    failures = {failure.name: failure for run in results for failure in run.failures}
    last = results[-1]
    return dataclasses.replace(
        last,
        environment=next((r.environment for r in reversed(results) if r.environment), None),
        records=tuple(records.values()),
        not_run=tuple(dict.fromkeys(row for run in results for row in run.not_run)),
        failures=tuple(failures.values()),
        interrupted=any(run.interrupted for run in results),
        machine=next((r.machine for r in reversed(results) if r.machine), None),
        conditions=next((r.conditions for r in reversed(results) if r.conditions), None),
    ), notes


def _card(results: Results) -> MachineCard | None:
    if not results.machine:
        return None
    try:
        return MachineCard.from_json(results.machine)
    except ValueError:  # of another version, whose figures are in the records' limits all the same
        return None


def _of(drawn: Sequence[Figure], part: str) -> list[str]:
    return [_figure(figure) for figure in drawn if figure.part == part]


def _figure(figure: Figure, wide: bool = False) -> str:
    kind = "wide" if wide else "usual"
    return (
        f'<figure data-operation="{figure.operation}" class="{kind}"><h3>{html.escape(figure.title)}</h3>'
        f"<figcaption>{html.escape(figure.caption)}</figcaption>"
        f'<div class="scroll">{figure.svg}</div></figure>'
    )


def _pictures() -> Iterator[str]:
    for title, caption, svg in touched.pictures():
        yield _figure(Figure("layout", title, caption, svg, ""))


def _roofline(card: MachineCard | None, records: Indexed) -> list[str]:
    made = roof.figure(card, records) if card else None
    return [_figure(made, wide=True)] if made else []


def _part(name: str, title: str, made: Sequence[str]) -> str:
    return (
        f'<section id="{name}" class="part"><h2>{title}</h2><div class="figures-grid">{"".join(made)}</div></section>'
    )


def _when(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"


def _about(results: Results, when: str) -> str:
    parts = [when]
    here = results.environment
    if here:
        versions = ", ".join(f"{name} {version}" for name, version in here.versions.items())
        cores = f"{here.cores} core{'s' if here.cores > 1 else ''}"
        parts = [f"{here.cpu}, {cores}, {here.system}, ISA level {here.isa}", versions, when]
    parts.append(f"{len(results.records)} results")
    if results.conditions:
        parts.append(results.conditions.sentence())
    return html.escape(" · ".join(parts))


def _warnings(results: Results, notes: Sequence[str]) -> str:
    told = [*notes, *(results.environment.warnings if results.environment else ())]
    told += results.conditions.warnings() if results.conditions else ()
    if results.interrupted:
        told.append("The run was cut off: what it had measured until then is here.")
    paragraphs = [html.escape(text) for text in told]
    if results.failures:
        count = len(results.failures)
        rows = _rows((failure.name, failure.message) for failure in results.failures)
        what = f"{count} benchmark{'s' if count > 1 else ''} failed"
        paragraphs.append(f"<details><summary>{what}</summary>{rows}</details>")
    shown = "".join(f"<div>{text}</div>" for text in paragraphs)
    return f'<div class="warnings">{shown}</div>' if shown else ""


def _findings(records: Sequence[Record], line: int, parts: set[str]) -> Iterator[str]:
    for number, finding in enumerate(findings(records, line)):
        link = f' <a href="#{finding.about}">more</a>' if finding.about in parts else ""
        kind = "first" if number == 0 else "next"
        yield (
            f'<li class="{kind}"><span class="claim">{html.escape(finding.claim)}</span>'
            f'<span class="reason">{html.escape(finding.reason)}{link}</span></li>'
        )


def _key(records: Sequence[Record]) -> Iterator[str]:
    for backend in dict.fromkeys(r.impl.partition(".")[0] for r in records):
        name = backend if backend in BACKENDS else "other"
        yield f'<span style="--colour:var(--{name.replace("_", "-")})">{html.escape(backend)}</span>'
    if any(r.limit for r in records):
        yield '<span style="--colour:var(--limit)">the machine’s limit</span>'


def _machine(results: Results, card: MachineCard | None) -> str:
    cards = list(_machine_cards(results, card))
    grid = "".join(f'<div class="card"><h3>{title}</h3>{table}</div>' for title, table in cards)
    return f'<section id="machine"><h2>The machine</h2><div class="card-grid">{grid}</div></section>'


def _machine_cards(results: Results, card: MachineCard | None) -> Iterator[tuple[str, str]]:
    here = results.environment
    facts = {"processor": here.cpu, "cores": here.cores, "system": here.system} if here else {}
    if card:
        facts = {"processor": card.cpu, "cores": card.cores, "system": card.system}
        facts |= {"ISA levels": ", ".join(card.isa_levels)}
        facts |= {"clock": f"{card.clock / 1e9:.2f} GHz"} if card.clock else {}
        for cache in card.caches:
            ways = f", {cache.ways} ways" if cache.ways else ""
            shared = ", shared" if cache.shared else ""
            facts[cache.name] = f"{_size(cache.size)}{ways}, lines of {cache.line} bytes{shared}"
        facts |= {"noise": f"{100 * card.noise:.1f} %"} if card.noise else {}
        facts |= {"a call from Python": f"{card.call * 1e9:.0f} ns"} if card.call else {}
        facts |= {"measured": card.measured}
    yield "What it is", _rows(facts.items())
    if card:
        yield "Peak, GFLOP/s", _crossed({(p.isa, _runs(p.dtype, p.threads)): p.flops / 1e9 for p in card.peaks})
        moved = {(b.level, _runs(b.kind, b.threads)): b.bytes / 1e9 for b in card.bandwidths}
        yield "Bandwidth, GB/s", _crossed(moved)
        if card.latencies:
            yield "Latency", _rows((x.what, f"{three_digits(x.seconds * 1e9)} ns") for x in card.latencies)
    if here:
        yield "Versions", _rows(here.versions.items())
        yield "Threads", _rows((pool.owner, str(pool).removeprefix(pool.owner)) for pool in here.pools)
    if card and card.warnings:
        yield "To know", _rows((warning,) for warning in card.warnings)


def _runs(what: str, threads: int) -> str:
    return what if threads == 1 else f"{what}, {threads} threads"


def _crossed(figures: Mapping[tuple[str, str], float]) -> str:
    """A table with the first names down its side and the second ones along its top."""
    down = list(dict.fromkeys(row for row, _ in figures))
    along = list(dict.fromkeys(column for _, column in figures))
    rows = ((row, *(_told(figures.get((row, column))) for column in along)) for row in down)
    return _rows(rows, ("", *along))


def _told(figure: float | None) -> str:
    return "" if figure is None else three_digits(figure)


def _size(nbytes: int) -> str:
    return f"{nbytes >> 20} MiB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KiB"


def _rows(rows: Any, headings: Sequence[str] = ()) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def _rungs(records: Sequence[Record], insides: Mapping[Rung, Inside]) -> Iterator[str]:
    """The rungs that were measured, by operation, in reading order."""
    measured: dict[str, list[str]] = {}
    for record in records:
        rungs = measured.setdefault(record.operation, [])
        if record.impl not in rungs:
            rungs.append(record.impl)
    for operation, impls in measured.items():
        known = {k.id: k for k in OPERATIONS[operation]} if operation in OPERATIONS else {}
        ordered = [id for id in known if id in impls] + [id for id in impls if id not in known]
        items = []
        for impl in ordered:
            backend = impl.partition(".")[0]
            name = (backend if backend in BACKENDS else "other").replace("_", "-")
            headline = known[impl].headline if impl in known else ""
            data = f'data-operation="{operation}" data-backend="{backend}"'
            inside = insides.get((operation, impl))
            link = f' <a href="{html.escape(inside.page)}">its machine code</a>' if inside else ""
            items.append(
                f'<li {data}><button type="button" data-operation="{operation}" data-impl="{impl}" '
                f'style="--colour:var(--{name})">{html.escape(impl)}</button>{html.escape(headline)}{link}</li>'
            )
        yield f"<details{' open' if operation == 'matmul' else ''}><summary>{operation}: {len(items)} rungs</summary>"
        yield f'<ul class="rungs">{"".join(items)}</ul></details>'


def _not_run(results: Results) -> str:
    """What has no time on any workload, by reason."""
    ran = {(r.study, r.impl, r.case) for r in results.records}
    reasons: dict[str, dict[str, None]] = {}
    for row in results.not_run:
        if (row.study, row.impl, row.case) not in ran:
            reasons.setdefault(row.reason, {})[f"{row.study} {row.impl} {row.case}".rstrip()] = None
    if not reasons:
        return ""
    rows = _rows((reason, f"{len(names)}: {', '.join(list(names)[:8])}{', …' if len(names) > 8 else ''}")
                 for reason, names in reasons.items())  # fmt: skip
    return f'<details><summary>What was not run, and why</summary><div class="card">{rows}</div></details>'


COLUMNS = (
    *("suite", "study", "section", "operation", "impl", "workload", "case", "dtype", "flops", "bytes", "threads"),
    *("first_call", "best", "median", "gflops", "gbytes", "percent"),
)
"""What the page's script gets of a record, as it is in the JSON file."""


def _data(records: Sequence[Record], insides: Mapping[Rung, Inside]) -> str:
    """The records and the rungs' texts as JSON that may stand in a script element."""
    more = ("limit", "by", "level", "wrong", "traffic")
    rows = []
    for r in records:
        limit = (r.limit.seconds, r.limit.by, r.limit.level) if r.limit else (None, "", "")
        rows.append([*(getattr(r, name) for name in COLUMNS), *limit, r.beyond_limit, touched.moved(r)])
    rungs: dict[str, dict[str, Any]] = {}
    for record in records:
        key = f"{record.operation} {record.impl}"
        if key not in rungs and record.operation in OPERATIONS:
            known = {k.id: k for k in OPERATIONS[record.operation]}
            if record.impl in known:
                k = known[record.impl]
                rungs[key] = {"lesson": k.lesson, "source": k.source()}
                rungs[key]["command"] = command_of(record.operation, record.impl)
                if inside := insides.get((record.operation, record.impl)):
                    rungs[key] |= inside.to_json()
    data = {"columns": [*COLUMNS, *more], "rows": rows, "rungs": rungs}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
