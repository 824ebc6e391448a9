"""`loopnest list`: the operations, or the ladder of one."""

import click

from ..arrays import FLOAT_NAMES
from ..backends import BACKENDS, SIMULATED
from ..operation import Implementation, Operation
from ..operations import OPERATIONS
from ..output.tables import columns
from .options import an_operation
from .progress import console, say


@click.command("list")
@click.argument("operation", callback=an_operation, required=False)
def command(operation: Operation | None) -> None:
    """List the operations, or the ladder of one OPERATION."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    if operation:
        out.print(Text(f"{operation.name}: {_summary(operation)}"))
        for backend in dict.fromkeys(k.backend for k in operation.rungs()):
            rungs = [k for k in operation.rungs() if k.backend == backend]
            about = BACKENDS[backend].summary if backend in BACKENDS else "registered"
            about += f"; {SIMULATED}" if all(k.simulated() for k in rungs) else ""
            out.print(Text(f"\n{backend}  {about}", style="bold"))
            out.print(columns(*((k.id, _about(k)) for k in rungs)))
        say(f"\nloopnest show {operation.name} {operation.fastest().id}  a rung's lesson and source")
        return
    table = Table("operation", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for backend in BACKENDS:
        table.add_column(backend, justify="right", no_wrap=True)
    for one in OPERATIONS.values():
        backends = [k.backend for k in one]
        counts = [str(backends.count(backend) or "·") for backend in BACKENDS]
        table.add_row(Text(f"{one.name}\n  {_summary(one).partition(':')[0].partition(',')[0]}"), *counts)
    out.print(table)
    say(
        "\nThe figures count rungs. Go on with one operation:",
        "loopnest list matmul            its ladder: what each rung is about",
        "loopnest show matmul cpp.naive  one rung's lesson and source",
        "loopnest bench matmul --quick   how fast they are",
    )


def _summary(operation: Operation) -> str:
    """The first line of its docstring, less the full stop."""
    return (operation.__doc__ or "").partition("\n")[0].rstrip(".")


def _about(k: Implementation) -> str:
    """The lesson's first line, and why the rung cannot run here where it cannot."""
    reason = k.why_unavailable()
    notes = [", ".join(k.dtypes)] if k.dtypes != FLOAT_NAMES else []
    notes += [note for note, holds in (("for study", k.study), ("emulated here", k.emulated())) if holds]
    about = f"{k.headline} ({'; '.join(notes)})" if notes else k.headline
    flaw = None if reason else k.flaw()
    return about + (f"\nnot here: {reason}" if reason else "") + (f"\nbreaks the contract here: {flaw}" if flaw else "")
