"""`loopnest report`: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from .options import need, output_file, usage_errors


@click.command("report")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_file("-o", "--output", help="The HTML file; by default next to the first of the RESULTS.")
def command(results: tuple[Path, ...], output: Path | None) -> None:
    """Make one HTML file of RESULTS, which needs no network and no other file.

    RESULTS are files that `loopnest bench` wrote, their folders, or journals of unfinished runs. Where several have the
    same benchmark, the last one counts.
    """
    from ..bench.files import BadFileError, load, report_for
    from ..report import why_not_here, write

    need(why_not_here())
    with usage_errors(BadFileError, ValueError):
        runs = [load(path) for path in results]
        file = output or report_for(results[0])
        write(runs, file)
    click.echo(f"the report is in {file}")
