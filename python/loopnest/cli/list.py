"""`loopnest list`: the operations, or the ladder of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..backends import BACKENDS, SIMULATED
from ..operation import Implementation, Operation
from ..operations import OPERATIONS
from .options import an_operation
from .progress import columns, console, say

if TYPE_CHECKING:
    from rich.text import Text


@click.command("list")
@click.argument("operation", callback=an_operation, required=False)
def command(operation: Operation | None) -> None:
    """List the operations, or the ladder of one OPERATION."""
    _list_ladder(operation) if operation else _list_operations()


def _list_operations() -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("operation", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for backend in BACKENDS:
        table.add_column(backend, justify="right", no_wrap=True)
    for operation in OPERATIONS.values():
        backends = [k.backend for k in operation]
        counts = [str(backends.count(backend) or "·") for backend in BACKENDS]
        what = _what(operation).partition(":")[0].partition(",")[0]
        table.add_row(Text(f"{operation.name}\n  {what}"), *counts)
    console().print(table)
    say(
        "\nThe figures count rungs. Go on with one operation:",
        "loopnest list matmul            its ladder: what each rung is about",
        "loopnest show matmul cpp.naive  one rung's lesson and source",
        "loopnest bench matmul --quick   how fast they are",
    )


def _what(operation: Operation) -> str:
    """The first line of its docstring, less the full stop."""
    return (operation.__doc__ or "").partition("\n")[0].rstrip(".")


def _list_ladder(operation: Operation) -> None:
    from rich.text import Text

    rows: list[tuple[Text, ...]] = []
    backend = None
    for k in operation:
        if k.backend != backend:
            backend = k.backend
            summary = BACKENDS[backend].summary if backend in BACKENDS else "registered"
            summary += f"; {SIMULATED}" if k.simulated() else ""
            rows += [(), (Text(backend, style="bold"), Text(summary, style="bold"))]
        rows.append((Text(k.id, style="" if k.available() else "dim"), _about(k)))
    out = console()
    out.print(Text(f"{operation.name}: {_what(operation)}"))
    out.print(columns(*rows))
    out.print(Text(f"\nloopnest show {operation.name} {operation.fastest().id}  a rung's lesson and source"))


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
