"""`loopnest lesson`: the lessons, in the terminal."""

from __future__ import annotations

import click

from .progress import console


@click.command("lesson")
@click.argument("number", metavar="[N]", type=int, required=False)
@click.option("--answers", is_flag=True, help="Show the answers to the questions, too.")
def command(number: int | None, answers: bool) -> None:
    """Read lesson N; without a number, list the lessons.

    \b
    loopnest lesson               the twelve of them
    loopnest lesson 4             caches and blocking
    loopnest lesson 4 --answers   with the answers to its questions
    loopnest exercise 4           the file to fill in
    """
    from rich.table import Table

    from ..learn import lesson as lesson_of
    from ..learn import lessons
    from ..learn.lessons import in_terminal

    out = console()
    if number is None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(justify="right")
        table.add_column()
        for one in lessons():
            table.add_row(str(one.number), one.title)
        out.print(table)
        out.print("\nloopnest lesson 1      read it here; the files lie in", markup=False)
        out.print(f"                       {lessons()[0].file.parent}", markup=False, soft_wrap=True)
        out.print("loopnest exercise 1    its exercise", markup=False)
        return
    try:
        found = lesson_of(number)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="N") from None
    if out.is_terminal and _less():
        with out.pager(styles=True):
            out.print(in_terminal(found, answers), width=min(out.width, 100))
    else:
        out.print(in_terminal(found, answers), width=min(out.width, 100))


def _less() -> bool:
    """Whether there is a pager that keeps colours; the one that the user has chosen is left as it is."""
    import os
    import shutil

    if "PAGER" not in os.environ and "MANPAGER" not in os.environ and shutil.which("less"):
        os.environ["PAGER"] = "less -R"
    return "PAGER" in os.environ or "MANPAGER" in os.environ
