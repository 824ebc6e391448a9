"""`loopnest compare`: two runs, and what became slower or faster."""

from pathlib import Path

import click

from .options import real, usage_errors
from .progress import console, show


@click.command("compare")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@real("--threshold", default=5.0, least=0, metavar="PERCENT", help="Smaller changes count as unchanged.")
@click.option("--all", "everything", is_flag=True, help="Print the benchmarks that have not changed too.")
def command(old: Path, new: Path, threshold: float, everything: bool) -> None:
    """Compare two runs: files that `loopnest bench` wrote, or their folders.

    For each benchmark the ratio of the new median time to the old one is printed with its 95 % interval. The exit
    status is 1 where a benchmark became slower by more than the threshold, by its interval and by its best time; else
    0; 2 where a file cannot be used.
    """
    from ..bench import compare as lab
    from ..bench.records import Results

    with usage_errors(ValueError):
        comparison = lab.compare(Results.load(old), Results.load(new), threshold=threshold / 100)
    show(lab.report(comparison, console().width, everything))
    if comparison.slower:
        raise SystemExit(1)
