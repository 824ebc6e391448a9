"""`loopnest bench gpu`: the GPU's rungs, judged and timed."""

import signal
from pathlib import Path

import click

from ..bench.gpu import PARTS
from .options import failures, files_of_run, finish, need, output_file
from .progress import console, progress, say, show


@click.command("gpu")
@click.option("--rehearse", is_flag=True, help="Without a GPU: all steps in the simulations; nothing is timed.")
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Only this part; may be repeated.")
@output_file("--json", "json_file", help="Write the results to this file.")
@output_file("--report", "--output", "report_file", help="Write the report to this HTML file.")
def command(rehearse: bool, only: tuple[str, ...], json_file: Path | None, report_file: Path | None) -> None:
    """Judge and time the rungs of numba.cuda and CUDA C++ on this machine's GPU.

    Each rung is held to its contract, and called under compute-sanitizer's memcheck and racecheck. Then it is timed by
    the GPU's events next to torch (cuBLAS) and a copy, in per cent of limits that are measured first: docs/gpu.md.

    Results and report go to a new folder in loopnest-results/, or where --json and --report say. After Ctrl-C or
    SIGTERM they hold what was found until then; a rung that crashes or hangs is left out.
    """
    from ..bench import gpu
    from ..report import write

    need(None if rehearse else gpu.why_not_here())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parts = [part for part in PARTS if part in (only or PARTS)]
    with failures(ValueError), progress() as on_event:
        json_file, report_file = files_of_run(json_file, report_file)
        how = {"save": lambda results: results.save(json_file)} if json_file else {}
        results = gpu.run_gpu(parts, rehearse=rehearse, on_event=on_event, **how)
    show(gpu.report(results, console().width))
    if results.interrupted:
        say("interrupted: the tables hold what was found until then")
    if json_file is not None:
        say(f"results: {json_file}")
    something = results.records or results.checks or results.rehearsed
    finish(results, report_file if something else None, write)
    raise SystemExit(1 if any(check.problems for check in results.checks) else 0)
