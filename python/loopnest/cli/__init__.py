"""The command `loopnest`: what does a user type, and what is printed?

Command lines come in, calls of the rooms below go out; each command is a call that a Python user can make too. Each
command is a file, imported when it is asked for, so that `loopnest --help` answers at once.
"""

import codecs
import importlib
import io
import sys
import unicodedata
from typing import Any

import click

from .._version import __version__

GROUPS = {
    "Learn": {
        "lesson": "Thirteen lessons, from the dot product to a fast MLP in bytes.",
        "exercise": "A lesson's exercise: a file to fill in, and its check.",
        "experiment": "Questions about networks and numbers, answered by experiment.",
        "train": "Train a network on these operations, on one process or many.",
    },
    "Read": {
        "list": "The operations, or the ladder of one.",
        "show": "One rung: its lesson and its source.",
        "inspect": "What the compiler made of a rung, and what limits it.",
        "layout": "The order in which a rung touches memory, and which accesses miss.",
    },
    "Measure": {
        "bench": "All ladders and comparisons; --quick: in under a minute.",
        "duel": "Which of two implementations is faster, and how sure that is.",
        "compare": "Two runs: what became slower, and what faster.",
        "report": "A run as one HTML page.",
        "machine": "The limits of this machine, measured, and its roofline.",
    },
    "Judge": {
        "check": "Is your kernel right, and how fast? A file, or a folder of them.",
        "watch": "The same on a local page at every save, with the machine code.",
    },
}
"""The commands in the groups of `loopnest --help`: each is the module of its name in this folder."""

COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}


ASCII = {
    "×": "x",
    "·": ".",
    "–": "-",
    "—": "-",
    "µ": "u",
    "≥": ">=",
    "≤": "<=",
    "→": "->",
    "▲": "^",
    "▼": "v",
    "█": "#",
}
ASCII |= dict.fromkeys("─━", "-") | dict.fromkeys("│┃", "|")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """In the place of characters that the output's encoding lacks: ASCII that reads like them, or question marks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = (ASCII.get(c) or unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() or "?" for c in text)
    return "".join(plain), error.end


codecs.register_error("loopnest", _replaced)


class Commands(click.Group):
    """A group that imports a command's file when the command is asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="loopnest")
        try:
            return super().main(*args, **kwargs)
        except MemoryError as error:
            wrong = f"there is not enough memory: {error}".removesuffix(": ")
        except OSError as error:  # what the system refuses: a full disk, a name that is too long, one more open file
            wrong = ": ".join(filter(None, [error.filename and str(error.filename), error.strerror or str(error)]))
        click.echo(f"Error: {wrong}", err=True)
        raise SystemExit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # the name `list` is the module of that command here

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from ..output.text import unknown

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(unknown("command", args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise SystemExit(130) from None

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without click's empty lines and list of options, so that a screen of 24 lines has it all."""
        formatter.write(f"{self.help}\n\n")
        for group, commands in GROUPS.items():
            formatter.write(f"{group}\n")
            formatter.write("".join(f"  {name:<10}  {summary}\n" for name, summary in commands.items()))
        formatter.write("\nloopnest COMMAND --help says what a command takes; loopnest --version\n")


@click.command(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context) -> None:
    """A performance lab: operations written many ways, behind one interface."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
