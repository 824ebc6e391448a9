"""`loopnest bench sweep`: products of many shapes next to NumPy, torch and JAX."""

from pathlib import Path
from typing import Any

import click

from ..bench.sweep import OPERATIONS
from .options import choice, failures, files_of_run, finish, number, output_file
from .progress import console, progress, say, show


@click.command("sweep")
@choice("--op", ("matmul", *OPERATIONS), "matmul", help="The operation.")
@number("--threads", default=1, help="The threads of each contender, and the processors that it is pinned to.")
@number("--seed", default=0, least=0, help="Draws the shapes and their order.")
@number("--count", help="Only the first points of the list; all take about half an hour, 30 about a minute.")
@output_file("--json", "json_file", help="Write the results to this file.")
@output_file("--report", "report_file", help="Write pictures and tables to this HTML file.")
def command(
    op: str, threads: int, seed: int, count: int | None, json_file: Path | None, report_file: Path | None
) -> None:
    """Find the cliffs of an operation: where it is slower than a peer, or than at the sizes next to a size.

    200 random shapes in all layouts, and squares from 256 to 4608 near powers of two, are timed in turn with NumPy,
    torch and JAX. The dips are listed with the path that the kernel took, the worst also with other strides.
    Another operation is timed with 2^10 to 2^24 elements.

    Results and report go to a new folder in loopnest-results/, or where --json and --report say. After Ctrl-C they hold
    what was measured until then.
    """
    import msgspec

    from ..backends.threads import processors
    from ..bench import sweep, sweep_figures
    from ..output.files import save_json
    from ..report.sweep import write

    if threads > processors():
        raise click.BadParameter(f"{threads}, but this process may run on {processors()}", param_hint="--threads")
    with failures(ValueError), progress() as on_event:
        json_file, report_file = files_of_run(json_file, report_file)
        points = sweep.all_points(seed) if op == "matmul" else sweep.sizes(op, seed)
        how: dict[str, Any] = {"dips": sweep_figures.worst_dips, "on_event": on_event}
        results = sweep.run_sweep(points[:count], seed=seed, threads=threads, **how)
    show(sweep_figures.report(results, console().width))
    if json_file is not None:
        save_json(msgspec.to_builtins(results), json_file)
        say(f"results: {json_file}")
    finish(results, report_file, write)
