"""`loopnest lesson`: the lessons, in the terminal."""

import os
import re
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..output.tables import columns
from .options import usage_errors
from .progress import console, say

if TYPE_CHECKING:
    from rich.markdown import Markdown


@click.command("lesson")
@click.argument("number", metavar="[N]", type=int, required=False)
@click.option("--answers", is_flag=True, help="Show the answers to the questions, too.")
@click.option("--open", "opens", is_flag=True, help="Open the lesson's pictures in the browser, too.")
def command(number: int | None, answers: bool, opens: bool) -> None:
    """Read lesson N; without a number, list the lessons, and what you have done.

    \b
    loopnest lesson               the thirteen of them
    loopnest lesson 4             caches and blocking
    loopnest lesson 4 --open      with its pictures in the browser
    loopnest lesson 4 --answers   with the answers to its questions
    loopnest exercise 4           the file to fill in
    """
    from ..learn import lesson as lesson_of
    from ..learn.lessons import terminal_text
    from ..learn.progress import progress

    if number is None:
        _list()
        return
    with usage_errors(ValueError):
        found = lesson_of(number)
    if opens:
        _open(found.number)
    out = console()
    with out.capture() as captured:
        out.print(_markdown(terminal_text(found, answers)), width=min(out.width, 100), crop=False)
    colour = r"\x1b\[[\d;]*m"
    ends = re.compile(f"(?: |{colour})+$", re.MULTILINE)  # blanks at the ends of lines would scroll, too
    text = ends.sub(lambda end: "".join(re.findall(colour, end[0])), captured.get())
    os.environ.setdefault("LESS", "-RS")  # long lines of code scroll
    click.echo_via_pager(text)
    done = progress()
    done.read.add(found.number)
    done.save()


def _list() -> None:
    """Print the lessons, which of them were read or solved, and the next one."""
    from ..learn import EXERCISES, lessons
    from ..learn.progress import progress

    done, every = progress(), lessons()
    states = {**dict.fromkeys(done.read, "read"), **dict.fromkeys(done.right, "solved")}
    state_of = [(states.get(one.number, ""),) if states else () for one in every]
    rows = ((str(one.number), *state, one.title) for one, state in zip(every, state_of, strict=True))
    console().print(columns(*rows, numbers=True))
    if states:
        say(f"\n{len(done.right & set(EXERCISES))} of {len(EXERCISES)} exercises solved")
    first = next((one.number for one in every if one.number not in done.right), 1)
    say(f"\nloopnest lesson {first:<7} {'the next one' if first > 1 else 'read it here'}; the files lie in")
    say(f"                       {every[0].file.parent}", f"loopnest exercise {first:<5}its exercise")


def _open(number: int) -> None:
    """Write the lesson's pictures as a page, and open it."""
    from ..learn import lesson
    from ..learn.lessons import pictures_page
    from ..output.files import save_text

    file = Path(tempfile.mkdtemp(prefix="loopnest-")) / f"lesson-{number:02}.html"
    save_text(pictures_page(lesson(number)), file)
    click.echo(f"pictures: {file}", err=True)
    if not webbrowser.open(file.as_uri()):
        click.echo("no browser opened it: open the file yourself", err=True)


def _markdown(text: str) -> "Markdown":
    """Markdown whose code is never folded: lines that are longer than the terminal is wide scroll in the pager."""
    from rich import markdown
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.syntax import Syntax

    class Code(markdown.CodeBlock):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            code = str(self.text).rstrip()
            width = max(options.max_width, 2 + max(map(len, code.splitlines()), default=0))
            shown = Syntax(code, self.lexer_name, theme=self.theme, padding=1, background_color="default")
            yield from console.render(shown, options.update(width=width))

    class Lesson(markdown.Markdown):
        elements = {**markdown.Markdown.elements, "fence": Code, "code_block": Code}  # noqa: RUF012

    return Lesson(text, code_theme="ansi_dark", hyperlinks=False)
