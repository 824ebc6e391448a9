"""The terminal's tables, made from records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..output.tables import Sheet
from ..output.text import counted, duration, three_digits, times
from ..timing.environment import Environment
from . import explain
from .choices import claims, comparable, ends, groups, notes, one_size, rate, surprises, unit
from .records import Record, Results

HOW = "Times are the best of several rounds, of the kernel alone unless a call is named; NumPy arrays in, `out` given."


def report(results: Results, quick: bool, width: int, how: str = HOW) -> Iterator[RenderableType]:
    """What `loopnest bench` prints, one renderable after another.

    quick  one table for each study; else one for each workload too
    width  of the terminal, in characters
    how    the times were taken
    """
    if results.environment:
        yield about(results.environment, how)
    if results.conditions:
        yield _with_warnings(results.conditions.sentence(), results.conditions.load.warnings())
    believed = [record for record in results.records if not record.beyond_limit]
    for study, records in groups(believed, lambda r: r.study).items():
        one = records if not quick else [] if records[0].ladder else comparable(records)
        for workload, same in groups(one, lambda r: r.workload).items():
            yield table(f"{study} · {workload}", same, width)
        if records[0].ladder:
            yield ladder(study, records, width)
        yield from _claims(records)
        yield from (Text(line, style="yellow") for line in surprises(records))
    missing = never_run(results)
    if len(missing) == 1:
        yield from (Text(f"\nnot run: {'; '.join(names)}: {reason}") for reason, names in missing.items())
    elif missing:
        count = sum(map(len, missing.values()))
        reason, names = max(missing.items(), key=lambda one: len(one[1]))
        most = f"{len(names)} of them: {reason}"
        yield Text(f"\nnot run: {count} rows, {most}; the report and the results' file have all reasons")
    for record in results.records:
        if record.beyond_limit:
            yield Text(beyond(record), style="bold yellow")
    for failure in results.failures:
        yield Text.assemble(("failed: ", "bold red"), f"{failure.name}\n", (failure.message, "red"), "\n")


def ladder(study: str, records: Sequence[Record], width: int) -> RenderableType:
    """The rungs in reading order on one workload, and the factor from slowest to fastest.

    A rung that is too slow for it is shown on a smaller one, without ratios.
    """
    (workload, rows), (slowest, fastest) = one_size(records), ends(records)
    factor = slowest.best / fastest.best
    span = Text.assemble(
        f"{slowest.impl} to {fastest.impl} on {slowest.workload}: ",
        (f"{times(factor)}, {math.log10(factor):.1f} orders of magnitude", "bold"),
    )
    return Group(table(f"{study} · {workload}", rows, width, workload), span)


def table(title: str, records: Sequence[Record], width: int, workload: str = "") -> RenderableType:
    """One row a record, with the columns that fit the width. With sections, a row is compared within its own.

    workload  only its rows have ratios; all rows where it is empty
    """
    in_unit = unit(records)
    same_workload = len({r.workload for r in records}) == 1
    if same_workload and records[0].workload not in title:
        title += f" · {records[0].workload}"
    measuring = Console(width=1000, color_system=None)
    for without in range(len(WIDE) + 1):
        result = _table(records, in_unit, WIDE[:without], not same_workload, width, workload)
        if measuring.measure(result).maximum <= width:
            break
    parts: list[RenderableType] = [Text(f"\n{title} · {records[0].dtype}", style="bold"), result]
    if explain.columns(records):
        sentence = explain.sentence(records)
        parts += [Text(sentence, style="bold")] if sentence else []
        parts.append(Text(explain.footnote(records), style="dim"))
    return Group(*parts, *(Text(note, style="yellow") for note in notes(records)))


WIDE = ("other", "fastest", "slowest", "cores")
"""Columns that a narrow terminal leaves out, the first of them first."""


def table_like(width: int) -> Table:
    """An empty table in the style of all tables here."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, int(width >= 84), 0, 0), pad_edge=False, show_edge=False)


def _table(
    records: Sequence[Record], in_unit: str, left_out: Sequence[str], workloads: bool, width: int, workload: str
) -> Table:
    sections = groups(records, lambda r: r.section)
    compared = groups((r for r in records if not r.note and workload in ("", r.workload)), lambda r: r.section)
    rates = {section: [rate(r, in_unit) for r in rows] for section, rows in compared.items()}

    def ratio(r: Record, of: Callable[[float], float]) -> str:
        return times(of(rate(r, in_unit))) if workload in ("", r.workload) else ""

    other = "GB/s" if in_unit == "GFLOP/s" else "GFLOP/s"
    columns: dict[str, tuple[str, Callable[[Record], str]]] = {
        "time": ("time", lambda r: duration(r.best)),
        "rate": (in_unit, lambda r: three_digits(rate(r, in_unit))),
        "other": (other, lambda r: three_digits(rate(r, other))),
        "slowest": ("faster\nthan\nslowest", lambda r: ratio(r, lambda x: x / min(rates[r.section]))),
        "fastest": ("slower\nthan\nfastest", lambda r: ratio(r, lambda x: max(rates[r.section]) / x)),
    }
    if any(r.limit for r in records):
        columns["limit"] = "% of\nlimit", percent
    columns["cores"] = "cores", lambda r: str(r.threads)
    if not any(rate(r, other) for r in records):  # a transposition has no flops
        del columns["other"]
    columns = {name: column for name, column in columns.items() if name not in left_out}
    names: list[tuple[str, Callable[[Record], str]]] = []
    names += [("case", lambda r: r.case)] if any(r.case for r in records) else []
    names += [("workload", lambda r: r.workload)] if workloads else []
    moved = explain.columns(records)

    result = table_like(width)
    result.add_column("implementation", no_wrap=True, overflow="fold")
    for heading, _ in names:
        result.add_column(heading, no_wrap=True)
    for heading in [*(heading for heading, _ in columns.values()), *moved.values()]:
        result.add_column(heading, justify="right", no_wrap=True)
    for section in sections.values():
        for number, record in enumerate(section):
            repeated = number > 0 and record.impl == section[number - 1].impl
            cells = ["" if repeated else record.impl, *(cell(record) for _, cell in (*names, *columns.values()))]
            cells += explain.cells(record, moved) if moved else []
            style = "green" if rate(record, in_unit) == max(rates[record.section]) else ""
            result.add_row(*map(Text, cells), style=style, end_section=number == len(section) - 1)
    return result


def percent(record: Record) -> str:
    """Per cent of the limit."""
    if record.percent is None:
        return ""
    digits = 0 if record.percent >= 9.95 else 1 if record.percent >= 0.095 else 2
    return f"{record.percent:.{digits}f}" if record.percent >= 0.005 else "<0.01"


def beyond(record: Record) -> str:
    """Why a time that beats the limit is refused, in place of it."""
    assert record.limit is not None
    who = " ".join(filter(None, (record.operation, record.impl, record.case)))
    factor = f"a factor of {record.limit.seconds / record.best:.3g}"
    return (
        f"refused: {who} on {record.workload}: its time beats the limit of {duration(record.limit.seconds)} "
        f"({record.limit.by}, {record.limit.level}) by {factor}; no program can: the limit or the count is wrong. "
        "Measure the machine again: loopnest machine --refresh"
    )


def taken_on(environment: Environment) -> str:
    """The machine and the versions, in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    cores = counted(environment.cores, "core")
    return f"{environment.cpu}, {cores}, {environment.system}, ISA level {environment.isa} · {versions}"


def about(environment: Environment, how: str = HOW) -> Text:
    """The lines above all tables: what the figures were taken on, and how."""
    threads = ", ".join(map(str, environment.pools))
    return _with_warnings(f"{taken_on(environment)}\nthreads: {threads}\n{how}", environment.warnings)


def shown(
    environment: Environment | None, how: str, sheets: Iterable[Sheet], remarks: Iterable[str], width: int
) -> Iterator[RenderableType]:
    """Sheets on a terminal of this width, below what they were taken on and how, and remarks."""
    if environment:
        yield about(environment, how)
    for sheet in sheets:
        table = table_like(width)
        for number, heading in enumerate(sheet.headings):
            table.add_column(heading, justify="left" if number < sheet.words else "right")
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        yield Text(f"\n{sheet.title}", style="bold")
        yield table
        yield from (Text(note, style="dim") for note in sheet.notes)
    yield from map(Text, remarks)


def verdict(figure: float | None, least: float) -> str:
    return "not measured" if figure is None else "met" if figure >= least else "not met"


def ratio_text(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}" if ratio < 2 else three_digits(ratio)


def _with_warnings(text: str, warnings: Iterable[str]) -> Text:
    return Text.assemble(f"{text}\n", *((f"warning: {warning}\n", "yellow") for warning in warnings))


def _claims(records: Sequence[Record]) -> Iterator[Text]:
    found = claims(records)
    if not found:
        return
    holding = sum(claim.holds for claim in found)
    yield Text(f"the lessons' claims of being faster: {holding} of {len(found)} hold")
    for claim in found:
        if not claim.holds:
            yield Text(
                f"  does not hold: {claim.impl} is {three_digits(claim.ratio)} times as fast as {claim.other} "
                f"on {claim.workload}",
                style="yellow",
            )


def never_run(results: Results) -> dict[str, list[str]]:
    """By reason, the studies and rungs that have no time on any workload."""
    ran = {(r.study, r.impl, r.case) for r in results.records}
    rows = [row for row in results.not_run if (row.study, row.impl, row.case) not in ran]
    by_reason = groups(rows, lambda row: row.reason)
    return {reason: list(dict.fromkeys(f"{r.study}: {r.impl}" for r in same)) for reason, same in by_reason.items()}
