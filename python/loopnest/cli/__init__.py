"""The command `loopnest`. Each command is a call that a Python user can make too; what is slow to import is imported
inside the commands, so that `loopnest --help` answers at once."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._core import set_isa
from .._version import __version__
from ..backends import BACKENDS, SIMULATED
from ..operation import Implementation, Operation, UnavailableError, UnknownImplementationError
from ..operations import OPERATIONS
from . import check as check_commands
from . import learn as learn_commands
from .experiment import experiment
from .inspect import inspect_command
from .train import train

if TYPE_CHECKING:
    from rich.text import Text

    from ..bench.duel import Duel
    from ..bench.records import Results

SUITES = ("matmul", "gelu", "mlp", "vectorization", "layout", "calls")
PEERS = "peers"
"""Run by its name alone: it takes minutes, and is a comparison of libraries and not of rungs."""

NARROW = 100
"""Columns of a terminal below which what an operation computes goes below its name."""


def _named(ctx: click.Context, param: click.Parameter, name: str | None) -> Operation | None:
    """The operation of this name."""
    if name is None or name in OPERATIONS:
        return OPERATIONS[name] if name else None
    near = difflib.get_close_matches(name, OPERATIONS, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise click.BadParameter(f"no operation is called {name!r}{hint} Known: {', '.join(OPERATIONS)}.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """A performance lab: one set of operations, written many ways, behind one interface.

    \b
    loopnest lesson                  twelve lessons, from the dot product to the transformer's MLP
    loopnest exercise 1              a lesson's exercise: a file to fill in, and its check
    loopnest list                    the operations
    loopnest list matmul             one operation's ladder
    loopnest show matmul numpy.rows  one rung: its lesson and its source
    loopnest duel matmul cpp numpy   which of two is faster, and how sure that is
    loopnest bench --quick           all ladders and comparisons, in under a minute
    loopnest compare OLD NEW         two runs: what is slower, and what is faster
    loopnest report RESULTS          a run as a page to look at
    loopnest accuracy gelu           the error of the C++ functions over every float32
    loopnest machine                 what this machine reaches, measured: the limits, and the roofline
    loopnest layout matmul ijk       in which order elements are touched, and which of them miss the cache
    loopnest train digits            a network trained on the lab's own operations; --compare: by each backend
    loopnest experiment              questions about networks and numbers, answered by doing
    loopnest counters matmul cpp.packed  cycles, instructions, cache misses, where the machine counts them
    loopnest inspect matmul cpp.packed   the hot loop of its machine code, counted, and what bounds it
    loopnest racecheck FILE.cu       which barrier a CUDA C++ kernel lacks; without a GPU
    loopnest new matmul --lang cpp   a file to start a kernel of one's own from
    loopnest check FILE --op matmul  judge it: is it right, how fast is it, what to try next
    loopnest rank FOLDER             judge a folder of kernels
    """


for _command in (*check_commands.COMMANDS, *learn_commands.COMMANDS):
    main.add_command(_command)


@main.command("list")
@click.argument("operation", callback=_named, required=False)
def list_command(operation: Operation | None) -> None:
    """List the operations, or the ladder of one OPERATION."""
    if operation is None:
        _list_operations()
    else:
        _list_ladder(operation)


def _list_operations() -> None:
    from rich.table import Table

    console = _console()
    narrow = console.width < NARROW
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("operation", no_wrap=not narrow)
    if not narrow:
        table.add_column("what it computes")
    for backend in BACKENDS:
        table.add_column(backend, justify="right", no_wrap=True)
    for operation in OPERATIONS.values():
        backends = [k.backend for k in operation]
        counts = [str(backends.count(backend) or "·") for backend in BACKENDS]
        what = _what(operation).partition(":")[0].partition(",")[0]
        table.add_row(*_texts(f"{operation.name}\n  {what}" if narrow else operation.name, *[what][narrow:], *counts))
    console.print(table)
    console.print("\nThe figures count rungs. Go on with one operation:")
    console.print("loopnest list matmul            its ladder: what each rung is about")
    console.print("loopnest show matmul cpp.naive  one rung's lesson and source")
    console.print("loopnest bench matmul --quick   how fast they are")


def _what(operation: Operation) -> str:
    """The first line of its docstring, less the full stop."""
    return (operation.__doc__ or "").partition("\n")[0].rstrip(".")


def _list_ladder(operation: Operation) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    backend = None
    for k in operation:
        if k.backend != backend:
            backend = k.backend
            summary = BACKENDS[backend].summary if backend in BACKENDS else "registered"
            summary += f"; {SIMULATED}" if k.simulated() else ""
            table.add_row()
            table.add_row(Text(backend, style="bold"), Text(summary, style="bold"))
        table.add_row(Text(k.id, style="" if k.available() else "dim"), _about(k))
    console = _console()
    console.print(Text(f"{operation.name}: {_what(operation)}"))
    console.print(table)
    console.print(Text(f"\nloopnest show {operation.name} {operation.fastest().id}  a rung's lesson and source"))


def _about(k: Implementation) -> Text:
    """The lesson's first line, and why the rung cannot run here where it cannot."""
    from rich.text import Text

    text = Text(k.headline, style="" if k.available() else "dim")
    if k.simulated():
        text.append(" (simulated)", style="yellow")
    if k.study:
        text.append(" (for study)", style="dim")
    reason = k.why_unavailable()
    if reason:
        text.append(f"\nnot here: {reason}", style="yellow")
    return text


@main.command()
@click.argument("operation", callback=_named)
@click.argument("impl")
def show(operation: Operation, impl: str) -> None:
    """Show the lesson and the source of one rung: OPERATION and IMPL, as in `loopnest show matmul cpp.naive`."""
    from rich.syntax import Syntax
    from rich.text import Text

    try:
        k = operation[impl]
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint="IMPL") from None
    console = _console()
    reason = k.why_unavailable()
    source = _without_lesson(k.source())
    if not console.is_terminal:
        click.echo(f"{operation.name} {k.id}\n")
        click.echo(f"not here: {reason}\n" if reason else "", nl=False)
        click.echo(f"{SIMULATED}\n" if k.simulated() else "", nl=False)
        click.echo(f"{k.lesson}\n\n{source}")
        return
    console.print(Text(f"{operation.name} {k.id}\n", style="bold"))
    if reason:
        console.print(Text(f"not here: {reason}\n", style="yellow"))
    if k.simulated():
        console.print(Text(f"{SIMULATED}\n", style="yellow"))
    for paragraph in k.lesson.split("\n\n"):
        console.print(Text(_reflowed(paragraph) + "\n"))
    language = {"cpp": "cpp", "cuda_cpp": "cuda"}.get(k.backend, "python")
    console.print(Syntax(source, language, theme="ansi_dark", background_color="default", word_wrap=True))


def _reflowed(paragraph: str) -> str:
    """Prose on one line, for the terminal to break; formulas, tables and lists as they are."""
    lines = paragraph.splitlines()
    return paragraph if any(line.startswith((" ", "-")) for line in lines) else " ".join(lines)


def _without_lesson(source: str) -> str:
    """The source less the docstring or the opening comment, which is the lesson."""
    import ast

    lines = source.splitlines()
    if source.startswith("//"):
        while lines and lines[0].startswith("//"):
            del lines[0]
    else:
        function = ast.parse(source).body[0]
        if isinstance(function, ast.FunctionDef) and ast.get_docstring(function) is not None:
            docstring = function.body[0]
            del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines).strip("\n")


def _in_a_folder(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    """The file, whose folder exists."""
    if file is not None and not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.absolute().parent}")
    return file


@main.command()
@click.argument("suites", nargs=-1, type=click.Choice((*SUITES, PEERS)), metavar=f"[{'|'.join((*SUITES, PEERS))}]...")
@click.option("--quick", is_flag=True, help="Fewer and smaller workloads: all suites in under a minute.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="Write the results to this file, in pytest-benchmark's format; those of peers in their own.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="Write the report to this HTML file. Without both files they go to a new folder in loopnest-results/.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=Path(),
    metavar="[JOURNAL]",
    help="Go on with a run that was cut off: the last one in loopnest-results/, or that of this journal.",
)
@click.option(
    "--no-limits", is_flag=True, help="Leave the machine's limits out; the first run on a machine measures them."
)
@click.option("--only", multiple=True, metavar="PART", help="Of peers, only this part; may be given again.")
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="Write the tables of peers to this file.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), hidden=True, help="End after about so long.")
@click.option("-k", "select", hidden=True, help="Only the benchmarks that pytest's -k selects.")
def bench(
    suites: tuple[str, ...],
    quick: bool,
    json_file: Path | None,
    report_file: Path | None,
    resume: Path | None,
    no_limits: bool,
    only: tuple[str, ...],
    markdown_file: Path | None,
    seconds: float | None,
    select: str | None,
) -> None:
    """Run benchmark suites, print their tables, and write the results and a report; all but peers where none is named.

    A run that is cut off, by Ctrl-C or otherwise, loses nothing that it had measured: --resume goes on with it.

    peers compares loopnest with NumPy, torch and JAX and with the machine's limits, and says which bars are met. It
    runs by itself: `loopnest bench peers`.
    """
    if suites == (PEERS,):
        if report_file or resume:
            raise click.UsageError(f"{'--report' if report_file else '--resume'} is not for peers")
        _bench_peers(quick, only, json_file, markdown_file)
        return
    if PEERS in suites:
        raise click.UsageError("peers runs by itself: loopnest bench peers")
    if only or markdown_file:
        raise click.UsageError(f"{'--only' if only else '--markdown'} is for peers: loopnest bench peers")
    if resume is not None and (suites or quick or json_file or report_file or seconds or select):
        raise click.UsageError("--resume goes on with what that run was asked for, and takes no suites and no options")
    from ..bench import suites as lab
    from ..bench.files import BadFileError, Files

    missing = lab.why_not_here()
    if missing:
        raise click.ClickException(missing)
    try:
        files = Files.unfinished(resume) if resume is not None else Files.of(json_file, report_file)
        with _Progress() as progress:
            card = None if no_limits else _card(progress)
            how: dict[str, Any] = {"card": card, "on_event": progress.show}
            if resume is not None:
                results = lab.resume(files.journal, **how)
            else:
                how |= {"quick": quick, "seconds": seconds, "select": select, "journal_file": files.journal}
                results = lab.run_suites(suites or SUITES, **how)
    except (BadFileError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    told = files.write(results)
    _print_results(results, quick, told)
    if results.interrupted:
        raise SystemExit(130)
    if results.failures:
        raise SystemExit(1)


def _card(progress: _Progress) -> Any:
    from ..machine.card import card

    return card(on_event=progress.show)


@main.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="What is at most so much slower or faster counts as unchanged.",
)
@click.option("--all", "everything", is_flag=True, help="Print the benchmarks that have not changed too.")
def compare(old: Path, new: Path, threshold: float, everything: bool) -> None:
    """Compare two runs: files that `loopnest bench` wrote, or their folders; journals of unfinished runs too.

    For each benchmark the ratio of the new median time to the old one is printed with its 95 % interval. The exit
    status is 1 where a benchmark is slower by more than the threshold, its interval and its best time too; else 0; 2
    where a file cannot be used.
    """
    from ..bench import compare as lab
    from ..bench.files import BadFileError, load

    try:
        comparison = lab.compare(load(old), load(new), threshold=threshold / 100)
    except (BadFileError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    console = _console()
    for part in lab.report(comparison, console.width, everything):
        console.print(part)
    if comparison.slower:
        raise SystemExit(1)


@main.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="The HTML file; beside the first of the RESULTS where it is not given.",
)
@click.option(
    "--inspect",
    is_flag=True,
    help="Look into the rungs too: their hot loops in the report, and a page of each in a folder beside it.",
)
def report(results: tuple[Path, ...], output: Path | None, inspect: bool) -> None:
    """Make one HTML file of RESULTS, which needs no network and no other file.

    RESULTS are files that `loopnest bench` wrote, their folders, or journals of unfinished runs. Of several the last
    one that has a benchmark counts.
    """
    from ..bench.files import BadFileError, load, report_beside
    from ..report import why_not_here, write

    missing = why_not_here()
    if missing:
        raise click.ClickException(missing)
    try:
        runs = [load(path) for path in results]
        file = output or report_beside(results[0])
        with _Progress() as progress:
            write(runs, file, inspect=inspect, on_event=progress.show)
    except (BadFileError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"the report is in {file}")


def _bench_peers(quick: bool, only: tuple[str, ...], json_file: Path | None, markdown_file: Path | None) -> None:
    """The comparison with the peers; bars that are not met are no failure."""
    from ..bench.peers.run import PARTS, run_peers, why_not_here
    from ..bench.peers.tables import markdown, report

    missing = why_not_here()
    if missing:
        raise click.ClickException(missing)
    unknown = [part for part in only if part not in PARTS]
    if unknown:
        raise click.BadParameter(f"no part is called {unknown[0]!r}. Known: {', '.join(PARTS)}.", param_hint="--only")
    with _Progress() as progress:
        results = run_peers([part for part in PARTS if part in (only or PARTS)], quick=quick, on_event=progress.show)
    console = _console()
    for part in report(results):
        console.print(part)
    if json_file is not None:
        results.save(json_file)
    if markdown_file is not None:
        options = [*(["--quick"] if quick else []), *(f"--only {part}" for part in only)]
        command = " ".join(["loopnest bench peers", *options])
        markdown_file.write_text(markdown(results, command), encoding="utf-8")
    if results.interrupted:
        raise SystemExit(130)
    if results.failures:
        raise SystemExit(1)


def _print_results(results: Results, quick: bool, told: list[str]) -> None:
    from ..bench.tables import report

    console = _console()
    for part in report(results, quick, console.width):
        console.print(part)
    if results.interrupted:
        console.print("interrupted: the tables hold what was measured until then")
    for line in told:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Progress:
    """A bar on standard error while benchmarks run."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, event: str, content: Any) -> None:
        if event == "start":
            self._progress.update(self._task, total=content)
        elif event == "running":
            self._progress.update(self._task, description=content.rpartition("::")[2], advance=1)
        elif event == "at":
            self._progress.update(self._task, description=content)
        elif event == "round":
            what, done, most = content
            self._progress.update(self._task, description=what, completed=done, total=most)


@main.command()
@click.argument("operations", nargs=-1, metavar="[OPERATION]...")
@click.option("--step", type=click.IntRange(1, 2**32), default=1, help="Only every STEP-th of the 2^32 numbers.")
@click.option("--variant", default="simd", show_default=True, help="The rung of the C++ ladder.")
@click.option("--isa", help="The ISA level, as LOOPNEST_ISA; the newest that runs here where it is not given.")
def accuracy(operations: tuple[str, ...], step: int, variant: str, isa: str | None) -> None:
    """Measure the error of C++ functions over every float32, in ULP.

    The OPERATIONs are exp, sigmoid, tanh, gelu and the backward ones, all where none is named; each takes some
    seconds to a minute. An ULP is the distance of float32's neighbours around the exact result: a correctly rounded
    result is off by at most 0.5. Gradients are measured in ULP of the sum of their terms' magnitudes.
    """
    from ..verify import accuracy as lab

    try:
        if isa is not None:
            set_isa(isa)
        functions = lab.functions(operations, variant)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(lab.HEADER)
    for function in functions:
        click.echo(lab.line(lab.measure(function, step=step, variant=variant)))


# --- duels


@main.command()
@click.argument("operation", callback=_named)
@click.argument("impl_a")
@click.argument("impl_b")
@click.option("--workload", help="Its name; the largest in which a call takes some 25 ms where it is not given.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="For each of the two.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="Of a comparison at most; there is one for each kind of caches.",
)
@click.option(
    "--precision",
    type=click.FloatRange(min=0, min_open=True),
    default=0.01,
    show_default=True,
    help="The half width of the interval, as a share of the ratio, that ends a comparison before that.",
)
@click.option("--caches", type=click.Choice(("warm", "cold", "both")), default="both", show_default=True)
@click.option("--no-out", is_flag=True, help="Both allocate their results, instead of being given memory for them.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, metavar="N", help="Repeat it, and print the tally.")
@click.option("--json", "as_json", is_flag=True, help="Print the records, with all samples, as JSON.")
def duel(
    operation: Operation,
    impl_a: str,
    impl_b: str,
    workload: str | None,
    dtype: str,
    threads: int,
    seconds: float,
    precision: float,
    caches: str,
    no_out: bool,
    repeat: int,
    as_json: bool,
) -> None:
    """Say which of two implementations of OPERATION is faster, by how much, and how sure that is.

    IMPL_A and IMPL_B are ids, as in `loopnest duel matmul cpp.packed numpy.matmul`, or Python files with a function
    named for the operation: `loopnest duel matmul cpp.packed ./mine.py`. They are timed in turn, on the same memory
    and on equal terms, which are printed; their results are checked before, meanwhile and after.
    """
    import json

    from ..bench import duel as lab
    from ..bench.measure import WrongResult
    from ..timing.fairness import UnfairError, why_not_here

    missing = why_not_here()
    if missing:
        raise click.ClickException(missing)
    options: dict[str, Any] = {
        "workload": workload,
        "dtype": dtype,
        "threads": threads,
        "seconds": seconds,
        "precision": precision,
        "caches": ("warm", "cold") if caches == "both" else (caches,),
        "out": not no_out,
    }
    duels: list[lab.Duel] = []
    interrupted = False
    try:
        for _ in range(repeat):
            with _Progress() as progress:
                duels.append(lab.duel(operation, impl_a, impl_b, on_event=progress.show, **options))
            if repeat > 1 and not as_json:
                _print_line_of_duel(len(duels), duels[-1])
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint="IMPL_A or IMPL_B") from None
    except (ValueError, UnavailableError, UnfairError, lab.RefusedError, WrongResult) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        click.echo(json.dumps({"duels": [fought.to_json() for fought in duels]}, indent=1))
    elif duels:
        _print_duels(duels)
    if interrupted:
        raise SystemExit(130)
    if any(fought.refused for fought in duels):
        raise SystemExit(1)


def _print_line_of_duel(number: int, fought: Duel) -> None:
    from rich.text import Text

    from ..bench.duel_tables import line

    _console().print(Text(line(number, fought)))


def _print_duels(duels: list[Duel]) -> None:
    """The last one whole, and the tally of several."""
    from ..bench.duel_tables import report, tally

    console = _console()
    if len(duels) > 1:
        console.print("\n" + "\n".join(tally(duels)) + "\n\nThe last of them:\n", markup=False)
    for part in report(duels[-1]):
        console.print(part)


# --- the machine


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON, in flops, bytes and seconds.")
@click.option("--refresh", is_flag=True, help="Measure now, whatever was measured before.")
@click.option(
    "--svg",
    "svg_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="Write the roofline to this file.",
)
def machine(as_json: bool, refresh: bool, svg_file: Path | None) -> None:
    """Show what this machine reaches, as it was measured: peak, bandwidths, latencies, noise, and its roofline.

    It is measured at the first time, in some 15 seconds, and kept; `--refresh` measures again. What distorts figures,
    such as other processes or variables in the environment, is told in warnings.
    """
    import importlib.util
    import json

    needed = ["threadpoolctl", *(["matplotlib"] if svg_file else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        raise click.ClickException(f"{' and '.join(missing)} {are} not installed: pip install 'loopnest[bench]'")
    from ..machine.card import card, card_file
    from ..machine.roofline import roofline_svg
    from ..machine.tables import report

    notes: list[str] = []
    with _Progress() as progress:

        def on_event(event: str, content: Any) -> None:
            if event == "note":
                notes.append(content)
            progress.show(event, content)

        try:
            here = card(refresh, on_event)
        except KeyboardInterrupt:
            click.echo("interrupted: nothing was kept of this measurement", err=True)
            raise SystemExit(130) from None
    for note in notes:
        click.echo(note, err=True)
    if as_json:
        click.echo(json.dumps(here.to_json(), indent=1))
    else:
        console = _console()
        for part in report(here, console.width):
            console.print(part)
        console.print(f"\nkept in {card_file()}", markup=False, highlight=False, soft_wrap=True)
    if svg_file is not None:
        svg_file.write_text(roofline_svg(here, standalone=True), encoding="utf-8")


# --- the memory layout's pictures, and the processor's counters


@main.command()
@click.argument("operation")
@click.argument("variant", metavar="[ORDER|VARIANT]", required=False)
@click.option("--n", default=8, show_default=True, help="The matrices have n x n elements; at most 32.")
@click.option("--layout", default="C", show_default=True, help="C or F, of all inputs; or a letter for each, as CF.")
@click.option("--cache", "size", type=int, default=256, show_default=True, help="Bytes of the cache.")
@click.option("--ways", type=int, default=4, show_default=True, help="Lines that share a place and fit into it.")
@click.option("--line", type=int, default=16, show_default=True, help="Bytes of a line: 4 for each element.")
@click.option(
    "--svg",
    "svg_file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_in_a_folder,
    help="Write the picture to this file.",
)
@click.option(
    "--animate",
    "animation_file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_in_a_folder,
    help="Write the walk, step by step, to this file: SVG that moves in a browser.",
)
def layout(
    operation: str,
    variant: str | None,
    n: int,
    layout: str,
    size: int,
    ways: int,
    line: int,
    svg_file: Path | None,
    animation_file: Path | None,
) -> None:
    """Show in which order a C++ rung touches its elements, and which of them a cache has.

    The OPERATION is matmul, transpose, sum or add; of matmul, the rung may be a loop order.

    \b
    loopnest layout matmul ijk               down the columns of b
    loopnest layout matmul ikj               along its rows
    loopnest layout matmul ijk --layout CF   down the columns, which now are contiguous
    loopnest layout transpose blocked --n 32 --animate blocked.svg
    """
    from ..layout.traffic import CacheLevel
    from ..layout.walk import animation_svg, picture, picture_svg, walk

    try:
        walked = walk(operation, variant, n=n, layout=layout, cache=CacheLevel(size, ways, line))
        files = []
        if svg_file is not None:
            files.append((svg_file, picture_svg(walked, background="white")))
        if animation_file is not None:
            files.append((animation_file, animation_svg(walked, background="white")))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    console = _console()
    for part in picture(walked, console.width, coloured=console.color_system is not None):
        console.print(part)
    for file, svg in files:
        file.write_text(svg, encoding="utf-8")
        console.print(f"written: {file}", markup=False, highlight=False)


@main.command()
@click.argument("operation", callback=_named)
@click.argument("impl")
@click.option("--workload", help="The operation's workload; its smallest that is not below 256 x 256, or its largest.")
@click.option("--calls", type=click.IntRange(min=1), default=5, show_default=True, help="Calls that are counted.")
def counters(operation: Operation, impl: str, workload: str | None, calls: int) -> None:
    """Count cycles, instructions and cache misses of one rung, where the processor and the kernel let us.

    What cannot be counted is named, with the reason: virtual machines mostly have no counters.
    """
    from ..layout.counters import count_implementation, report, usual_workload
    from ..operation import UnavailableError

    try:
        k = operation[impl]
        name = workload or usual_workload(operation)
        counted = count_implementation(k, name, calls=calls)
    except (UnknownImplementationError, UnavailableError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{operation.name} {k.id} on {name}, a call's share of {calls}\n")
    for text in report(counted):
        click.echo(text)


# --- looking inside

main.add_command(inspect_command)


# --- CUDA C++


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--kernel", help="Only the kernel of this name; all of the file where it is not given.")
@click.option(
    "--op", "operation", type=click.Choice(("matmul",)), help="What it computes, which says how large its arrays are."
)
@click.option(
    "--size", "sizes", multiple=True, metavar="NAME=N", help="An integer parameter, as in n=100; may be repeated."
)
@click.option(
    "--array", "arrays", multiple=True, metavar="NAME=N", help="A pointer's elements, as in a=m*k; may be repeated."
)
@click.option("--grid", help="Blocks, as in '((n+15)/16, (m+15)/16)'; in place of the file's comment `// launch: …`.")
@click.option("--block", help="Threads of a block, as in '(16, 16)'.")
@click.option("--shared", default="0", show_default=True, help="Bytes of dynamic shared memory.")
@click.option("--bounds", is_flag=True, help="Look for accesses beside arrays, in place of races.")
@click.option(
    "--time-limit", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Seconds of a kernel's run."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def racecheck(
    file: Path,
    kernel: str | None,
    operation: str | None,
    sizes: tuple[str, ...],
    arrays: tuple[str, ...],
    grid: str | None,
    block: str | None,
    shared: str,
    bounds: bool,
    time_limit: float,
    as_json: bool,
) -> None:
    """Say where a CUDA C++ FILE lacks a barrier: which threads touch the same memory with nothing between them.

    It needs no GPU: the kernels run simulated on the CPU, with ThreadSanitizer. A kernel is launched as the comment
    above it says, in its own integer parameters:

    \b
        // launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16) shared=0

    The exit status is 1 where something was found, 2 where the file cannot be run.
    """
    import json

    from ..backends.cuda_on_cpu import CudaBuildError, CudaSourceError, LaunchSizes
    from ..check import racecheck as lab

    try:
        if (grid is None) != (block is None):
            raise click.UsageError("--grid and --block go together")
        checked = lab.racecheck(
            file,
            kernel=kernel,
            operation=operation,
            sizes=lab.named_sizes(sizes),
            arrays=lab.named(arrays),
            launch=LaunchSizes(grid, block, shared) if grid and block else None,
            bounds=bounds,
            time_limit=time_limit,
        )
    except (CudaSourceError, CudaBuildError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(checked.to_json(), indent=1))
    else:
        console = _console()
        for line in lab.report(checked):
            console.print(line, markup=False)
    if checked.findings:
        raise SystemExit(1)


# --- networks and experiments

main.add_command(train)
main.add_command(experiment)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _texts(*cells: str) -> list[Text]:
    """Cells as they are: rich would take the [torch] of a pip command for markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]
