"""`loopnest check`, `loopnest rank` and `loopnest new`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..operation import UnknownImplementationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..check import Verdict

LANGUAGES = ("python", "numba", "c", "cpp", "cuda")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `check` and `rank` share."""
    options = (
        click.option("--op", "operation", default="matmul", show_default=True, help="The operation: `loopnest list`."),
        click.option("--against", metavar="IMPL", help="A rung to be compared with, such as cpp.packed."),
        click.option("--dtype", type=click.Choice(("float32", "float64")), help="Both where it is not given."),
        click.option("--flags", default="-O3 -march=native", show_default=True, help="Of the compiler."),
        click.option("--compiler", help="Its name or path; g++ or gcc, or CXX or CC of the environment."),
        click.option(
            "--time-limit",
            type=click.FloatRange(min=0, min_open=True),
            default=60.0,
            show_default=True,
            help="Seconds of the whole; one call may take a third of it.",
        ),
        click.option(
            "--memory-limit",
            type=click.FloatRange(min=0, min_open=True),
            default=2048.0,
            show_default=True,
            metavar="MIB",
            help="MiB that it may take.",
        ),
        click.option(
            "--seconds",
            type=click.FloatRange(min=0),
            default=4.0,
            show_default=True,
            help="Of the timing; 0 for none.",
        ),
        click.option(
            "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of libraries and rungs."
        ),
        click.option("--workload", help="On which it is timed; those that fit the time where it is not given."),
        click.option("--json", "as_json", is_flag=True, help="Print the records as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_options
@click.option("--watch", is_flag=True, help="Judge it again whenever it is saved, until Ctrl-C.")
def check(file: Path, as_json: bool, watch: bool, memory_limit: float, **options: Any) -> None:
    """Judge the kernel in FILE: does it build, is it right, how fast is it, and what to try next.

    FILE is Python, with a function of the operation's name; C or C++; or CUDA C++, which is judged and not timed. It
    runs in a process of its own. docs/check.md has the forms, and the exit codes: 0 says that it is right.

    \b
    loopnest new matmul --lang cpp mine.cpp    a file to start from
    loopnest check mine.cpp --op matmul        its verdict
    loopnest check mine.cpp --watch            and again whenever it is saved
    """
    options["memory_limit"] = int(memory_limit * (1 << 20))
    if watch:
        _watch(file, as_json, options)
        return
    verdict = _judged(file, options)
    _show(verdict, as_json)
    raise SystemExit(verdict.exit_code)


def _judged(file: Path, options: dict[str, Any]) -> Verdict:
    from ..check import check as judge
    from . import _Progress

    try:
        with _Progress() as progress:
            return judge(file, on_event=progress.show, **options)
    except (ValueError, UnknownImplementationError) as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        click.echo("interrupted: there is no verdict", err=True)
        raise SystemExit(130) from None


def _show(verdict: Verdict, as_json: bool) -> None:
    from rich.console import Console

    from ..check.tables import footer, report

    if as_json:
        click.echo(json.dumps(verdict.to_json(), indent=1))
        return
    console = Console(highlight=False)
    for part in report(verdict):
        console.print(part)
    if verdict.timing is not None:
        console.print(footer(verdict.timing), style="dim", markup=False)


def _watch(file: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Judge the file whenever its time or size changes; Ctrl-C ends it."""
    seen: tuple[int, int] | None = None
    try:
        while True:
            now = _stamp(file)
            if now != seen:
                seen = now
                if not as_json:
                    click.clear()
                _show(_judged(file, options), as_json)
                if not as_json:
                    click.echo(f"\nwatching {file}: judged again when it is saved; Ctrl-C ends this", err=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        return


def _stamp(file: Path) -> tuple[int, int] | None:
    """The file's time and size. Editors that write a new file and rename it leave none for a moment: that is waited
    for."""
    for _ in range(25):
        try:
            stat = file.stat()
        except OSError:
            time.sleep(0.02)
        else:
            return stat.st_mtime_ns, stat.st_size
    return None


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_options
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
def rank(folder: Path, as_json: bool, as_csv: bool, memory_limit: float, **options: Any) -> None:
    """Judge all kernels in FOLDER, one after the other, and print one table: the right ones by speed, then the rest.

    Files whose names begin with _ are left out. One that crashes or hangs spoils no other's verdict. The exit code is 0
    if every file got a verdict, whatever it was.
    """
    from rich.console import Console

    from ..check.rank import rank as judge_all
    from ..check.tables import as_csv as csv_of
    from ..check.tables import ranking
    from . import _Progress

    options["memory_limit"] = int(memory_limit * (1 << 20))
    try:
        with _Progress() as progress:
            found = judge_all(
                folder,
                on_verdict=lambda file, verdict: progress.show("at", f"{file.name}: {verdict.outcome}"),
                **options,
            )
    except (ValueError, UnknownImplementationError) as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        click.echo("interrupted: there is no table", err=True)
        raise SystemExit(130) from None
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    elif as_csv:
        click.echo(csv_of(found), nl=False)
    else:
        Console(highlight=False).print(ranking(found))


@click.command()
@click.argument("operation")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--lang", type=click.Choice(LANGUAGES), default="cpp", show_default=True)
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
def new(operation: str, file: Path | None, lang: str, dtype: str) -> None:
    """Write a file to start from: a kernel of OPERATION that is right and slow, and explains itself.

    FILE is OPERATION with the language's suffix where it is not given. A file that is there already is left as it is.
    """
    from ..check.starters import write_starter

    try:
        written = write_starter(operation, lang, file, dtype)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"written: {written}\nloopnest check {written} --op {operation}")


COMMANDS = (check, rank, new)
