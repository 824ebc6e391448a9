"""`loopnest bench`: the benchmark suites, and loopnest next to NumPy, torch and JAX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..output.text import unknown as unknown_name
from .options import POSITIVE, failures, need, output_file
from .progress import Progress, console, say, show

if TYPE_CHECKING:
    from ..bench.records import Results

SUITES = ("matmul", "gelu", "mlp", "vectorization", "layout", "calls")
PEERS = "peers"
"""Runs only by its name: it takes minutes, and compares libraries and not rungs."""


@click.command("bench")
@click.argument("suites", nargs=-1, type=click.Choice((*SUITES, PEERS)), metavar=f"[{'|'.join((*SUITES, PEERS))}]...")
@click.option("--quick", is_flag=True, help="Fewer and smaller workloads: all suites in under a minute.")
@output_file("--json", "json_file", help="Write the results to this file, in pytest-benchmark's format.")
@output_file("--report", "report_file", help="Write the report to this HTML file.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=Path(),
    metavar="[JOURNAL]",
    help="Go on with a run that was cut off: the last one in loopnest-results/, or the one of this journal.",
)
@click.option("--no-limits", is_flag=True, help="Do not compare with the machine's limits, and do not measure them.")
@click.option("--only", multiple=True, metavar="PART", help="Of peers: only this part; may be repeated.")
@output_file("--markdown", "markdown_file", help="Of peers: write the tables to this file.")
@click.option("--seconds", type=POSITIVE, hidden=True, help="End after about this time.")
@click.option("-k", "select", hidden=True, help="Only the benchmarks that pytest's -k selects.")
def command(
    suites: tuple[str, ...],
    quick: bool,
    json_file: Path | None,
    report_file: Path | None,
    resume: Path | None,
    no_limits: bool,
    only: tuple[str, ...],
    markdown_file: Path | None,
    **selection: Any,
) -> None:
    """Run benchmark suites, print their tables, and write the results and a report; all but peers unless named.

    Results and report go to a new folder in loopnest-results/, or where --json and --report say. A run that is cut off,
    by Ctrl-C or otherwise, keeps what it has measured: --resume goes on with it.

    `loopnest bench peers` compares with NumPy, torch, JAX and the machine's limits, and says which bars are met.
    """
    if suites == (PEERS,):
        if report_file or resume:
            raise click.UsageError(f"{'--report' if report_file else '--resume'} is not for peers")
        _peers(quick, only, json_file, markdown_file)
        return
    if PEERS in suites:
        raise click.UsageError("peers runs by itself: loopnest bench peers")
    if only or markdown_file:
        raise click.UsageError(f"{'--only' if only else '--markdown'} is for peers: loopnest bench peers")
    if resume is not None and (suites or quick or json_file or report_file or any(selection.values())):
        raise click.UsageError("--resume goes on with what that run was asked for, and takes no suites and no options")
    from ..bench import suites as lab
    from ..bench.files import BadFileError, Files
    from ..bench.tables import report
    from ..machine.card import card

    need(lab.why_not_here())
    with failures(BadFileError, ValueError), Progress() as progress:
        files = Files.unfinished(resume) if resume is not None else Files.of(json_file, report_file)
        how: dict[str, Any] = {"on_event": progress.on_event}
        how["card"] = None if no_limits else card(**how)
        if resume is not None:
            results = lab.resume(files.journal, **how)
        else:
            results = lab.run_suites(suites or SUITES, quick=quick, journal_file=files.journal, **selection, **how)
    written = files.save(results)
    if files.report is not None:
        written += _report(results, files.report)
    show(report(results, quick, console().width))
    if results.interrupted:
        say("interrupted: the tables hold what was measured until then")
    say(*written)
    _exit(results)


def _exit(results: Any) -> None:
    if results.interrupted or results.failures:
        raise SystemExit(130 if results.interrupted else 1)


def _report(results: Results, file: Path) -> list[str]:
    """Write the report; a line about where it is, or why there is none."""
    from ..bench.files import as_typed
    from ..report import why_not_here, write

    missing = why_not_here()
    if missing:
        return [f"no report: {missing}"]
    if not results.records:
        return []
    write([results], file)
    return [f"report: {as_typed(file)}"]


def _peers(quick: bool, only: tuple[str, ...], json_file: Path | None, markdown_file: Path | None) -> None:
    """The comparison with the peers; bars that are not met are no failure."""
    from ..bench import peers
    from ..output.files import save_json
    from ..timing.fairness import why_not_here

    need(why_not_here())
    unknown = [part for part in only if part not in peers.TITLES]
    if unknown:
        raise click.BadParameter(unknown_name("part", unknown[0], peers.TITLES), param_hint="--only")
    with Progress() as progress:
        parts = [part for part in peers.TITLES if part in (only or peers.TITLES)]
        results = peers.run_peers(parts, quick=quick, on_event=progress.on_event)
    show(peers.report(results))
    if json_file is not None:
        save_json(msgspec.to_builtins(results), json_file)
    if markdown_file is not None:
        options = [*(["--quick"] if quick else []), *(f"--only {part}" for part in only)]
        command = " ".join(["loopnest bench peers", *options])
        markdown_file.write_text(peers.markdown(results, command), encoding="utf-8")
    _exit(results)
