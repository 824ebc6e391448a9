"""`loopnest lesson`: the lessons, in the terminal."""

import click

from .options import usage_errors
from .progress import columns, console, say


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
    from rich.markdown import Markdown

    from ..learn import lesson as lesson_of
    from ..learn import lessons
    from ..learn.lessons import terminal_text

    out = console()
    if number is None:
        out.print(columns(*((str(one.number), one.title) for one in lessons()), numbers=True))
        say("\nloopnest lesson 1      read it here; the files lie in")
        say(f"                       {lessons()[0].file.parent}", "loopnest exercise 1    its exercise")
        return
    with usage_errors(ValueError):
        found = lesson_of(number)
    with out.capture() as captured:
        text = Markdown(terminal_text(found, answers), code_theme="ansi_dark", hyperlinks=False)
        out.print(text, width=min(out.width, 100))
    click.echo_via_pager(captured.get())
