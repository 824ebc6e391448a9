"""`loopnest lesson` and `loopnest exercise`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("number", metavar="[N]", type=int, required=False)
@click.option("--answers", is_flag=True, help="Show the answers to the questions, too.")
def lesson(number: int | None, answers: bool) -> None:
    """Read lesson N; without a number, list the lessons.

    \b
    loopnest lesson               the twelve of them
    loopnest lesson 4             caches and blocking
    loopnest lesson 4 --answers   with the answers to its questions
    loopnest exercise 4           the file to fill in
    """
    from rich.console import Console
    from rich.table import Table

    from ..learn import lesson as lesson_of
    from ..learn import lessons
    from ..learn.lessons import in_terminal

    console = Console(highlight=False)
    if number is None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(justify="right")
        table.add_column()
        for one in lessons():
            table.add_row(str(one.number), one.title)
        console.print(table)
        console.print("\nloopnest lesson 1      read it here; the files lie in", markup=False)
        console.print(f"                       {lessons()[0].file.parent}", markup=False, soft_wrap=True)
        console.print("loopnest exercise 1    its exercise", markup=False)
        return
    try:
        found = lesson_of(number)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="N") from None
    if console.is_terminal and _less():
        with console.pager(styles=True):
            console.print(in_terminal(found, answers), width=min(console.width, 100))
    else:
        console.print(in_terminal(found, answers), width=min(console.width, 100))


def _less() -> bool:
    """Whether there is a pager that keeps colours; the one that the user has chosen is left as it is."""
    import os
    import shutil

    if "PAGER" not in os.environ and "MANPAGER" not in os.environ and shutil.which("less"):
        os.environ["PAGER"] = "less -R"
    return "PAGER" in os.environ or "MANPAGER" in os.environ


@click.command()
@click.argument("number", metavar="[N]", type=int, required=False)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=".", required=False)
@click.option("--check", "checks", is_flag=True, help="Check the file: right or wrong, then how fast.")
@click.option("--solution", is_flag=True, help="Print a solution.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Of the timing; 0 for none."
)
@click.option("--json", "as_json", is_flag=True, help="With --check: print the records as JSON.")
def exercise(number: int | None, folder: Path, checks: bool, solution: bool, seconds: float, as_json: bool) -> None:
    """Write the file of exercise N into DIR (this folder unless it is given); with --check, check it there.

    Without a number, list the exercises. A file that is there already is left as it is. The exit code of --check is 0
    for right, 1 for wrong, 3 where it cannot be run on this machine.

    \b
    loopnest exercise 4             writes exercise_04.py
    loopnest exercise 4 --check     right or wrong, and how fast beside the ladder
    loopnest exercise 4 --solution  one way to do it
    """
    from rich.console import Console
    from rich.table import Table

    from ..learn import EXERCISES, check_exercise, write_starter
    from ..learn.drawing import report

    console = Console(highlight=False)
    if number is None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for one in EXERCISES.values():
            table.add_row(str(one.number), one.file, one.task)
        console.print(table)
        console.print("\nloopnest exercise 1          writes its file into this folder", markup=False)
        console.print("loopnest exercise 1 --check  checks what you made of it", markup=False)
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
        console.print(f"written: {written}\n", markup=False, soft_wrap=True)
        console.print(f"{one.task}\n", markup=False)
        console.print(f"loopnest exercise {number} --check{elsewhere}      when you have filled it in", markup=False)
        console.print(f"loopnest exercise {number} --solution   one way to do it", markup=False)
        return
    file = folder / one.file if folder.is_dir() else folder
    try:
        attempt = check_exercise(number, file, seconds=seconds)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(attempt.to_json(), indent=1))
    else:
        for part in report(attempt, console.width):
            console.print(part)
    raise SystemExit(attempt.exit_code)


COMMANDS = (lesson, exercise)
