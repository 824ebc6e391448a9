"""`loopnest duel`: which of two implementations is faster, and how sure that is."""

from typing import Any

import click
import msgspec

from ..operation import Operation, UnavailableError, UnknownImplementationError
from .options import JSON, REDUCED_TOO, an_operation, failures, number, print_json, real, workload
from .progress import progress, show


@click.command("duel")
@click.argument("operation", callback=an_operation)
@click.argument("impl_a")
@click.argument("impl_b")
@workload("else 25 ms a call")
@REDUCED_TOO
@number("--threads", default=1, help="For each of the two.")
@real("--seconds", default=4.0, help="In all, at most.")
@real("--precision", default=0.01, help="Stop once the interval's half-width is below this fraction of the ratio.")
@JSON
def command(operation: Operation, impl_a: str, impl_b: str, as_json: bool, **options: Any) -> None:
    """Say which of two implementations of OPERATION is faster, by how much, and how sure that is.

    IMPL_A and IMPL_B are ids, as in `loopnest duel matmul cpp.packed numpy.matmul`, or files in Python, C or C++
    with a function named for the operation: `loopnest duel matmul mine.c ./other.py`. They run in turn, in this
    process, on the same memory and on equal terms, which are printed. Their results are checked. `loopnest check`
    runs a file in a process of its own: check it first.
    """
    from ..bench import duel as lab
    from ..timing.fairness import UnfairError
    from ..verify.problem import WrongResult

    try:
        with failures(ValueError, UnavailableError, UnfairError, lab.RefusedError, WrongResult), progress() as on_event:
            found = lab.duel(operation, impl_a, impl_b, on_event=on_event, **options)
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint="IMPL_A or IMPL_B") from None
    if as_json:
        print_json({**msgspec.to_builtins(found), "faster": found.faster})
    else:
        show(lab.report(found))
    if found.refused:
        raise SystemExit(1)
