"""`loopnest inspect`: what the compiler made of a rung, and what limits it."""

from pathlib import Path
from typing import Any

import click

from ..arrays import FLOAT_NAMES, REDUCED
from ..backends.user_file import is_file
from .options import (
    JSON,
    OPERATION,
    choice,
    failures,
    known_operation,
    number,
    print_json,
    rung,
    stacked,
    usage_errors,
    workload,
)
from .progress import busy, console, progress, say

ASPECTS = {
    "source": "The source, with the instructions of each line.",
    "hot": "The hot loop, counted, and its bound: the default.",
    "asm": "The machine code of the function that the hot loop is in.",
    "remarks": "The loops that the compiler did not vectorize, and why, by source line.",
    "llvm": "Optimised LLVM IR, of Numba's rungs.",
    "ptx": "PTX, NVIDIA's portable assembly.",
    "sass": "SASS, a GPU's machine code.",
    "counters": "Cycles, instructions, cache misses of a call, as far as this machine counts them.",
    "accuracy": "The largest error over float32 numbers, in ULP; of C++ elementwise functions.",
}


@click.command("inspect")
@click.argument("what", metavar="OPERATION|FILE")
@click.argument("impl", required=False)
@stacked(
    *(click.option(f"--{name}", "aspects", flag_value=name, multiple=True, help=text) for name, text in ASPECTS.items())
)
@click.option("--step", type=click.IntRange(1, 2**32), help="With --accuracy: every STEP-th number; 1 is all of them.")
@number("--calls", help="With --counters: calls that are counted.")
@click.option("--isa", help="The ISA level of the machine code: v1, v3 or v4; by default the active one.")
@choice("--dtype", (*FLOAT_NAMES, *REDUCED))
@click.option("--cpu", help="The processor that the bound is for, as 'Zen 3' or 'Golden Cove'; by default this one.")
@click.option("--no-measure", is_flag=True, help="Do not time it, nor sample where its time goes: only read its code.")
@click.option("--gpu", help="The compute capability of PTX, SASS and occupancy; 9.0 by default.")
@workload("else the largest")
@OPERATION
@click.option("--compiler", "compilers", multiple=True, help="Of FILE: its name or path; several are compared.")
@click.option("--flags", multiple=True, help="Of FILE: for each compiler; several are compared. [default: -O3 …]")
@JSON
def command(what: str, impl: str | None, aspects: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Look into a rung, OPERATION and IMPL: what the compiler made of its source. Or look into a kernel in a FILE of
    yours, which is judged and timed, too.

    By default it shows the hot loop of compiled code, counted, with its bound; docs/inspect.md says how to read it.
    Aspects can be combined.

    \b
    loopnest inspect matmul cpp.packed --isa v3 --dtype float64
    loopnest inspect matmul cpp.naive --remarks   what is not vectorized, and why
    loopnest inspect gelu cpp.simd --source --asm
    loopnest inspect matmul cpp.packed --counters
    loopnest inspect mine.cpp --flags -O2 --flags "-O3 -march=native"
    """
    from ..inspect import InspectError, inspect, tables

    name, builds = options.pop("operation"), {key: options.pop(key) for key in ("compilers", "flags")}
    if is_file(what):
        if impl:
            raise click.UsageError(f"FILE goes without IMPL, which is {impl!r}; --op says the operation")
        _file(Path(what), name or "matmul", aspects, as_json, {key: v for key, v in builds.items() if v}, options)
        return
    if impl is None or name or any(builds.values()):
        raise click.UsageError("--op, --compiler and --flags are for FILE" if impl else f"expected IMPL after {what}")
    options |= {"measure": not options.pop("no_measure"), "dtype": options["dtype"]}
    k = rung(known_operation(what), impl)
    with failures(InspectError), busy(f"looking into {k.operation.name} {k.id}"):
        shown = inspect(k, *aspects, **options)
    if as_json:
        print_json(shown)
    else:
        tables.show_in(shown, console())


def _file(
    file: Path, operation: str, aspects: tuple[str, ...], as_json: bool, builds: dict[str, Any], options: dict[str, Any]
) -> None:
    """Look into a user's file, once for each compiler and its flags."""
    from ..check.inside import SECONDS, inspect_file
    from ..check.tables import builds as compared
    from ..inspect import View, tables

    if wrong := [f"--{key}" for key in ("step", "calls", "isa") if options.pop(key)]:
        raise click.UsageError(f"{wrong[0]} is for rungs, not for FILE")
    seconds = 0.0 if options.pop("no_measure") else SECONDS
    with usage_errors(ValueError), progress() as on_event:
        found = inspect_file(file, operation, *aspects, seconds=seconds, on_event=on_event, **builds, **options)
    if as_json:
        print_json(found)
        return
    console().print(compared(found))
    for one in found:
        verdict, dtypes = one.verdict, " and ".join(one.verdict.dtypes)
        view = View(operation, f"{file.name} · {one.name}", dtypes, "", verdict.sentence, one.listings)
        click.echo()
        tables.show_in(view, console())
        if one.why_not not in ("", verdict.sentence):
            say(one.why_not)
    raise SystemExit(max(one.verdict.exit_code for one in found))
