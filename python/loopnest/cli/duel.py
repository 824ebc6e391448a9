"""`loopnest duel`: which of two implementations is faster, and how sure that is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ..operation import Operation, UnavailableError, UnknownImplementationError
from .options import DTYPE, JSON, POSITIVE, an_operation
from .progress import Progress, console, show

if TYPE_CHECKING:
    from ..bench.duel import Duel


@click.command("duel")
@click.argument("operation", callback=an_operation)
@click.argument("impl_a")
@click.argument("impl_b")
@click.option("--workload", help="Its name; by default the largest in which a call takes some 25 ms.")
@DTYPE
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="For each of the two.")
@click.option("--seconds", type=POSITIVE, default=4.0, show_default=True, help="The longest time of a comparison.")
@click.option(
    "--precision",
    type=POSITIVE,
    default=0.01,
    show_default=True,
    help="Stop early once the interval's half-width is below this fraction of the ratio.",
)
@click.option("--caches", type=click.Choice(("warm", "cold", "both")), default="both", show_default=True)
@click.option("--no-out", is_flag=True, help="Both allocate their results, instead of being given memory for them.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, metavar="N", help="Repeat it, and print the tally.")
@JSON
def command(
    operation: Operation,
    impl_a: str,
    impl_b: str,
    workload: str | None,
    dtype: str,
    threads: int,
    seconds: float,
    precision: float,
    caches: str,
    no_out: bool,
    repeat: int,
    as_json: bool,
) -> None:
    """Say which of two implementations of OPERATION is faster, by how much, and how sure that is.

    IMPL_A and IMPL_B are ids, as in `loopnest duel matmul cpp.packed numpy.matmul`, or Python files with a function
    named for the operation: `loopnest duel matmul cpp.packed ./mine.py`. They are timed in turn, on the same memory
    and on equal terms, which are printed; their results are checked before, between and after.
    """
    from ..bench import duel as lab
    from ..timing.fairness import UnfairError, why_not_here
    from ..verify.problem import WrongResult

    missing = why_not_here()
    if missing:
        raise click.ClickException(missing)
    options: dict[str, Any] = {
        "workload": workload,
        "dtype": dtype,
        "threads": threads,
        "seconds": seconds,
        "precision": precision,
        "caches": ("warm", "cold") if caches == "both" else (caches,),
        "out": not no_out,
    }
    duels: list[lab.Duel] = []
    interrupted = False
    try:
        for _ in range(repeat):
            with Progress() as progress:
                duels.append(lab.duel(operation, impl_a, impl_b, on_event=progress.on_event, **options))
            if repeat > 1 and not as_json:
                _print_line(len(duels), duels[-1])
    except UnknownImplementationError as error:
        raise click.BadParameter(str(error), param_hint="IMPL_A or IMPL_B") from None
    except (ValueError, UnavailableError, UnfairError, lab.RefusedError, WrongResult) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        click.echo(json.dumps({"duels": [fought.to_json() for fought in duels]}, indent=1))
    elif duels:
        _print_duels(duels)
    if interrupted:
        raise SystemExit(130)
    if any(fought.refused for fought in duels):
        raise SystemExit(1)


def _print_line(number: int, fought: Duel) -> None:
    from rich.text import Text

    from ..bench.duel_tables import line

    console().print(Text(line(number, fought)))


def _print_duels(duels: list[Duel]) -> None:
    """The last one whole, and the tally of several."""
    from ..bench.duel_tables import report, tally

    if len(duels) > 1:
        console().print("\n" + "\n".join(tally(duels)) + "\n\nThe last of them:\n", markup=False)
    show(report(duels[-1]))
