"""`loopnest duel`: which of two implementations is faster, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..operation import Operation, UnavailableError, UnknownImplementationError
from .options import DTYPE, JSON, an_operation, choice, failures, need, number, print_json, real
from .progress import Progress, say, show

if TYPE_CHECKING:
    from ..bench.duel import Duel


@click.command("duel")
@click.argument("operation", callback=an_operation)
@click.argument("impl_a")
@click.argument("impl_b")
@click.option("--workload", help="Its name; by default the largest in which a call takes some 25 ms.")
@DTYPE
@number("--threads", default=1, help="For each of the two.")
@real("--seconds", default=4.0, help="The longest time of a comparison.")
@real("--precision", default=0.01, help="Stop once the interval's half-width is below this fraction of the ratio.")
@choice("--caches", ("warm", "cold", "both"), "both")
@click.option("--no-out", is_flag=True, help="Both allocate their results, instead of being given memory for them.")
@number("--repeat", default=1, metavar="N", help="Repeat it, and print the tally.")
@JSON
def command(
    operation: Operation,
    impl_a: str,
    impl_b: str,
    caches: str,
    no_out: bool,
    repeat: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Say which of two implementations of OPERATION is faster, by how much, and how sure that is.

    IMPL_A and IMPL_B are ids, as in `loopnest duel matmul cpp.packed numpy.matmul`, or Python files with a function
    named for the operation: `loopnest duel matmul cpp.packed ./mine.py`. They are timed in turn, on the same memory
    and on equal terms, which are printed; their results are checked before, between and after.
    """
    from ..bench import duel as lab
    from ..bench import duel_tables as tables
    from ..timing.fairness import UnfairError, why_not_here
    from ..verify.problem import WrongResult

    need(why_not_here())
    options |= {"caches": ("warm", "cold") if caches == "both" else (caches,), "out": not no_out}
    duels: list[Duel] = []
    interrupted = False
    try:
        with failures(ValueError, UnavailableError, UnfairError, lab.RefusedError, WrongResult):
            for _ in range(repeat):
                with Progress() as progress:
                    duels.append(lab.duel(operation, impl_a, impl_b, on_event=progress.on_event, **options))
                if repeat > 1 and not as_json:
                    say(tables.line(len(duels), duels[-1]))
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint="IMPL_A or IMPL_B") from None
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        print_json({"duels": [fought.to_json() for fought in duels]})
    elif duels:
        if len(duels) > 1:
            say("", *tables.tally(duels), "", "The last of them:", "")
        show(tables.report(duels[-1]))
    if interrupted:
        raise SystemExit(130)
    if any(fought.refused for fought in duels):
        raise SystemExit(1)
