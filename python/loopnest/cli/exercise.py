"""`loopnest exercise`: a lesson's exercise, and its check."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import JSON
from .progress import console, show


@click.command("exercise")
@click.argument("number", metavar="[N]", type=int, required=False)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=".", required=False)
@click.option("--check", "checks", is_flag=True, help="Check the file: right or wrong, then how fast.")
@click.option("--solution", is_flag=True, help="Print a solution.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Time for the timing; 0 for none."
)
@JSON
def command(number: int | None, folder: Path, checks: bool, solution: bool, seconds: float, as_json: bool) -> None:
    """Write the file of exercise N into DIR (this folder unless it is given); with --check, check it there.

    Without a number, list the exercises. A file that is there already is left as it is. The exit code of --check is 0
    for right, 1 for wrong, 3 where it cannot be run on this machine.

    \b
    loopnest exercise 4             writes exercise_04.py
    loopnest exercise 4 --check     right or wrong, and how fast beside the ladder
    loopnest exercise 4 --solution  one way to do it
    """
    from rich.table import Table

    from ..learn import EXERCISES, check_exercise, write_starter
    from ..learn.drawing import report

    out = console()
    if number is None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for one in EXERCISES.values():
            table.add_row(str(one.number), one.file, one.task)
        out.print(table)
        out.print("\nloopnest exercise 1          writes its file into this folder", markup=False)
        out.print("loopnest exercise 1 --check  checks what you made of it", markup=False)
        return
    if number not in EXERCISES:
        expected = f"expected a number from {min(EXERCISES)} to {max(EXERCISES)}"
        raise click.BadParameter(f"there is no exercise {number}; {expected}", param_hint="N")
    one = EXERCISES[number]
    if solution:
        click.echo(one.solution.read_text(encoding="utf-8"), nl=False)
        return
    if not checks:
        try:
            written = write_starter(number, folder)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        elsewhere = "" if folder == Path(".") else f" {folder}"
        out.print(f"written: {written}\n", markup=False, soft_wrap=True)
        out.print(f"{one.task}\n", markup=False)
        out.print(f"loopnest exercise {number} --check{elsewhere}      when you have filled it in", markup=False)
        out.print(f"loopnest exercise {number} --solution   one way to do it", markup=False)
        return
    file = folder / one.file if folder.is_dir() else folder
    try:
        attempt = check_exercise(number, file, seconds=seconds)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(attempt.to_json(), indent=1))
    else:
        show(report(attempt, out.width))
    raise SystemExit(attempt.exit_code)
