"""`loopnest show`: one rung's source, which begins with its lesson."""

import click

from ..backends import SIMULATED
from ..operation import Operation
from .options import an_operation, rung
from .progress import console, say


@click.command("show")
@click.argument("operation", callback=an_operation)
@click.argument("impl")
def command(operation: Operation, impl: str) -> None:
    """Show the source of one rung, which begins with its lesson: OPERATION and IMPL, as in `show matmul cpp.naive`."""
    from rich.syntax import Syntax

    k = rung(operation, impl)
    say(f"{operation.name} {k.id}")
    if reason := k.why_unavailable():
        say(f"not here: {reason}")
    if k.simulated():
        say(SIMULATED)
    out = console()
    if out.is_terminal:
        code = Syntax("", k.language, theme="ansi_dark", background_color="default").highlight(k.source())
        out.print(code, soft_wrap=True, end="")  # lines as they are: the terminal folds them, and copies them whole
    else:
        click.echo(k.source())
