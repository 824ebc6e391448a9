"""`loopnest bench`: the benchmark suites, and loopnest next to NumPy, torch and JAX."""

import importlib
from pathlib import Path
from typing import Any

import click
import msgspec

from ..arrays import REDUCED
from ..backends.user_file import is_file
from ..operations import OPERATIONS
from ..output.text import counted
from ..output.text import unknown as unknown_name
from .options import (
    COMPILER,
    FLAGS,
    OPERATION,
    POSITIVE,
    choice,
    failures,
    files_of_run,
    finish,
    known_operation,
    need,
    output_file,
    usage_errors,
    workload,
)
from .progress import console, progress, say, show

SUITES = ("matmul", "gelu", "mlp", "vectorization", "layout", "calls")
LADDERS = {"matmul": "matmul", "gelu": "gelu", "mlp": "mlp_forward"}
"""The suites that are ladders, each with one of its operations, which all have the same workloads."""

CURVE = "curve"
"""Runs only by its name: it is about one operation."""

PEERS = "peers"
"""Runs only by its name: it takes minutes, and compares libraries and not rungs."""

NAMES = (*SUITES, CURVE, PEERS)


class WithOthers(click.Command):
    """`bench sweep` and `bench gpu` share no option with the suites, so they are commands with a help of their own."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **how: Any) -> click.Context:
        if args[:1] not in (["sweep"], ["gpu"]):
            return super().make_context(info_name, args, *rest, **how)
        command: click.Command = importlib.import_module(f".{args[0]}", __package__).command
        return command.make_context(f"{info_name} {args[0]}", args[1:], *rest, **how)


class SuiteOrFile(click.Choice[str]):
    """The name of a suite, or the path of a kernel of the user's."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return Path(value) if is_file(value) else super().convert(value, param, ctx)


@click.command("bench", cls=WithOthers)
@click.argument(
    "suites",
    nargs=-1,
    type=SuiteOrFile(NAMES),
    metavar="[SUITE]...|FILE",
)
@click.option("--quick", is_flag=True, help="Fewer and smaller workloads: all suites in under a minute.")
@output_file("--json", "json_file", help="Write the results to this file, in pytest-benchmark's format.")
@output_file("--report", "report_file", help="Write the report to this HTML file.")
@choice("--dtype", ("float32", *REDUCED), "float32", shown=False)
@click.option("--no-limits", is_flag=True, help="Do not compare with the machine's limits, and do not measure them.")
@click.option("--only", multiple=True, metavar="PART", help="Of peers: only this part; may be repeated.")
@workload("else several")
@OPERATION
@COMPILER
@FLAGS
@output_file(
    "--markdown",
    "markdown_file",
    help="Of peers: write the tables into this page, in place of this machine's older.",
)
@click.option("--seconds", type=POSITIVE, hidden=True, help="End after about this time.")
@click.option("-k", "select", hidden=True, help="Only the benchmarks that pytest's -k selects.")
def command(
    suites: tuple[str, ...],
    quick: bool,
    json_file: Path | None,
    report_file: Path | None,
    dtype: str,
    no_limits: bool,
    only: tuple[str, ...],
    markdown_file: Path | None,
    operation: str | None,
    compiler: str | None,
    flags: str,
    **selection: Any,
) -> None:
    """Run benchmark suites, print their tables, and write the results and a report.

    SUITE is matmul, gelu, mlp, vectorization, layout or calls; all of these if none is named.

    Results and report go to a new folder in loopnest-results/, or where --json and --report say. After Ctrl-C they hold
    what was measured until then.

    \b
    bench mine.cpp --op matmul   a kernel of yours next to the whole ladder
    bench curve --op gelu        each rung's rate from small sizes to large
    bench peers                  NumPy, torch, JAX and the machine's limits
    bench sweep                  products of many shapes: see its own --help
    bench gpu                    the GPU's rungs: see its own --help
    """
    if any(isinstance(suite, Path) for suite in suites):
        if len(suites) > 1:
            raise click.UsageError("FILE goes alone; `loopnest check FOLDER` ranks several files")
        if report_file or only or markdown_file or no_limits:
            raise click.UsageError("FILE takes --quick, --workload, --op, --compiler, --flags and --json alone")
        how_built = {"compiler": compiler, "flags": flags}
        _file(suites[0], operation or "matmul", selection["workload"], quick, json_file, how_built)
        return
    if suites == (PEERS,):
        if report_file:
            raise click.UsageError("--report is not for peers")
        _peers(quick, only, json_file, markdown_file)
        return
    for alone in (CURVE, PEERS):
        if alone in suites and len(suites) > 1:
            raise click.UsageError(f"{alone} runs by itself: loopnest bench {alone}")
    if operation and suites != (CURVE,):
        raise click.UsageError("--op is for FILE, and for curve: loopnest bench curve --op gelu")
    if operation:
        known_operation(operation)
    if only or markdown_file:
        raise click.UsageError(f"{'--only' if only else '--markdown'} is for peers: loopnest bench peers")
    if selection["workload"]:
        if len(suites) != 1 or suites[0] not in LADDERS:
            raise click.UsageError(f"--workload is for one of {', '.join(LADDERS)}, or for FILE")
        with usage_errors(ValueError):
            OPERATIONS[LADDERS[suites[0]]].workload(selection["workload"])
    takes = [name for name, ladder in LADDERS.items() if dtype in OPERATIONS[ladder].contract.reduced]
    if dtype in REDUCED and (len(suites) != 1 or suites[0] not in takes):
        raise click.UsageError(
            f"--dtype {dtype} is for one of {', '.join(takes)}: loopnest bench matmul --dtype {dtype}"
        )
    from ..bench import curves, tables
    from ..bench import suites as lab
    from ..bench.choices import in_short
    from ..machine.card import card
    from ..report import write

    need(lab.why_not_here())
    with failures(ValueError), progress() as on_event:
        json_file, report_file = files_of_run(json_file, report_file)
        if not no_limits:
            card(on_event=on_event)  # the process that measures takes the kept one
        how: dict[str, Any] = {"limits": not no_limits, "dtype": dtype, "on_event": on_event}
        how |= {"operation": operation, **selection}
        results = lab.run_suites(suites or SUITES, quick=quick, **how)
    width = console().width
    show(curves.report(results, width) if suites == (CURVE,) else tables.report(results, quick, width))
    if results.interrupted:
        say("interrupted: the tables hold what was measured until then")
    if json_file is not None:
        results.save(json_file)
        say(f"{counted(len(results.records), 'result')}: {json_file}")
    if lines := [*in_short(results.records)]:
        say("", *lines)
    finish(results, report_file if results.records else None, write)


def _file(
    file: Any, operation: str, workload: str | None, quick: bool, json_file: Path | None, how_built: dict[str, Any]
) -> None:
    """A kernel of the user's next to the whole ladder: judged as by `loopnest check`, and timed if it is right."""
    from ..check import check
    from ..check.tables import report
    from ..output.files import save_json

    with usage_errors(ValueError), progress() as on_event:
        seconds = 2.0 if quick else 8.0
        how: dict[str, Any] = {"workload": workload, "seconds": seconds, "on_event": on_event, **how_built}
        verdict = check(file, operation, whole_ladder=True, **how)
    show(report(verdict))
    if json_file is not None:
        save_json(msgspec.to_builtins(verdict), json_file)
    raise SystemExit(verdict.exit_code)


def _peers(quick: bool, only: tuple[str, ...], json_file: Path | None, markdown_file: Path | None) -> None:
    """The comparison with the peers; bars that are not met are no failure."""
    from ..bench import peers
    from ..output.files import save_json, save_text

    unknown = [part for part in only if part not in peers.TITLES]
    if unknown:
        raise click.BadParameter(unknown_name("part", unknown[0], peers.TITLES), param_hint="--only")
    with progress() as on_event:
        parts = [part for part in peers.TITLES if part in (only or peers.TITLES)]
        results = peers.run_peers(parts, quick=quick, on_event=on_event)
    show(peers.report(results, console().width))
    if json_file is not None:
        save_json(msgspec.to_builtins(results), json_file)
    if markdown_file is not None:
        options = [*(["--quick"] if quick else []), *(f"--only {part}" for part in only)]
        command = " ".join(["loopnest bench peers", *options])
        page = markdown_file.read_text(encoding="utf-8") if markdown_file.is_file() else ""
        save_text(peers.into_page(page, results, command), markdown_file)
    finish(results)
