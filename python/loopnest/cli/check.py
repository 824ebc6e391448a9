"""`loopnest check`: is a user's kernel right, and how fast is it? One file, a folder, or a first file to edit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..arrays import FLOAT_NAMES, REDUCED
from ..backends.user_file import LANGUAGES, language
from ..output.text import counted
from .options import COMPILER, FLAGS, JSON, OPERATION, choice, number, print_json, real, usage_errors, workload
from .progress import console, progress, say, show

if TYPE_CHECKING:
    from ..check import Verdict


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@OPERATION
@choice("--dtype", (*FLOAT_NAMES, *REDUCED), help="By default float32 and float64.")
@FLAGS
@COMPILER
@real("--time-limit", default=60.0, help="Seconds in all; a call may take a third.")
@real("--memory-limit", default=2048.0, metavar="MIB", help="For the kernel.")
@real("--seconds", default=4.0, least=0, help="For timing; 0: none.")
@number("--threads", help="Of libraries and rungs; by default all where FILE asks for threads, else 1.")
@workload("else the largest in time")
@JSON
@click.option("--watch", is_flag=True, help="Judge the file again whenever it is saved, until Ctrl-C.")
@click.option("--new", is_flag=True, help="Write FILE: a kernel to start from, right and slow.")
@click.option("--lang", help="With --new: python, numba, c, cpp or cuda; by default what FILE's suffix says.")
@click.option("--races", is_flag=True, help="Of a .cu file: only say which threads race, and where. No GPU needed.")
def command(
    file: Path,
    operation: str | None,
    as_json: bool,
    watch: bool,
    new: bool,
    lang: str | None,
    races: bool,
    memory_limit: float,
    **options: Any,
) -> None:
    """Judge the kernel in FILE: does it build, is it right, how fast is it, and what to try next.

    FILE is Python, with a function of the operation's name; C or C++; or CUDA C++, which is judged and not timed; or a
    folder of such files, which gives one table. A kernel runs in a process of its own. docs/check.md has the forms,
    and the exit codes: 0 says that it is right, 3 as far as it was asked; for a folder, that every file got a verdict.

    \b
    loopnest check mine.cpp --op matmul --new   a file to start from
    loopnest check mine.cpp --op matmul         its verdict
    loopnest check mine.cpp --watch             and again whenever it is saved
    loopnest check kernels/ --op matmul         all of a folder, ranked
    loopnest check mine.cu --races              which barrier is missing
    """
    if new:
        _start(file, operation or "matmul", lang, options["dtype"])
        return
    if races:
        _races(file, operation, as_json, options["time_limit"])
        return
    options |= {"operation": operation or "matmul", "memory_limit": int(memory_limit * (1 << 20))}
    if file.is_dir():
        _rank(file, as_json, options)
    elif watch:
        _watch(file, as_json, options)
    else:
        raise SystemExit(_judge(file, as_json, options).exit_code)


def _judge(file: Path, as_json: bool, options: dict[str, Any]) -> Verdict:
    """Judge one file and print the verdict."""
    from ..check import check
    from ..check.tables import report

    with usage_errors(ValueError), progress() as on_event:
        verdict = check(file, on_event=on_event, **options)
    if as_json:
        print_json(verdict)
    else:
        show(report(verdict))
    return verdict


def _watch(file: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Judge the file whenever it, or a header or a module that it includes, changes; Ctrl-C ends it."""
    from ..check.watch import on_each_save

    def judge() -> Verdict:
        if not as_json:
            click.clear()
        return _judge(file, as_json, options)

    with contextlib.suppress(KeyboardInterrupt):
        for _ in on_each_save(file, judge):
            click.echo(f"\nwatching {file}: judged again when it is saved; Ctrl-C ends this", err=True)


def _rank(folder: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Judge all kernels in a folder, and print one table: the right ones by speed, then the rest.

    Files whose names begin with _ are left out. One that crashes or hangs spoils no other's verdict.
    """
    from ..check import rank
    from ..check.tables import ranking

    with usage_errors(ValueError), progress() as on_event:
        options["on_verdict"] = lambda file, verdict: on_event("at", f"{file.name}: {verdict.outcome}")
        found = rank(folder, **options)
    if as_json:
        print_json(found)
    else:
        console().print(ranking(found))


def _start(file: Path, operation: str, lang: str | None, dtype: str | None) -> None:
    """Write a kernel that is right and slow, and explains itself. A file that exists is left as it is."""
    from ..check.starters import starter
    from ..output.files import save_new

    lang = lang or (language(file) or "").replace("c++", "cpp")
    if not lang:
        known = ", ".join(LANGUAGES)
        raise click.UsageError(f"FILE is {file}, expected one of the suffixes {known}, or --lang to say the language")
    with usage_errors(ValueError, OSError):
        save_new(starter(operation, lang, dtype or "float32"), file)
    click.echo(f"written: {file}\nloopnest check {file} --op {operation}")


def _races(file: Path, operation: str | None, as_json: bool, time_limit: float) -> None:
    """Say which threads of a .cu file's kernels touch the same memory with no barrier between them."""
    from ..backends.compiler import BuildError
    from ..verify.racecheck import racecheck

    with usage_errors(BuildError, ValueError):
        checked = racecheck(file, operation=operation, time_limit=time_limit)
    if as_json:
        print_json(checked)
    else:
        say(*(f"{finding.kernel}: {finding.sentence}" for finding in checked.findings))
        count = len(checked.findings)
        say(counted(count, "finding") if count else "no race, no barrier that threads miss")
        say(*(f"simulated: {launch}" for launch in checked.launches))
    if checked.findings:
        raise SystemExit(1)
