"""`loopnest report`: a run as one HTML page."""

from pathlib import Path

import click

from .options import need, output_file, usage_errors


@click.command("report")
@click.argument("results", type=click.Path(path_type=Path))
@output_file("-o", "--output", help="The HTML file; by default next to RESULTS.")
def command(results: Path, output: Path | None) -> None:
    """Make one HTML file of RESULTS, which needs no network and no other file.

    RESULTS is a file that `loopnest bench` wrote, or its folder.
    """
    from ..bench.records import Results, report_for
    from ..report import why_not_here, write

    need(why_not_here())
    with usage_errors(ValueError):
        run = Results.load(results)
        file = output or report_for(results)
        write(run, file)
    click.echo(f"the report is in {file}")
