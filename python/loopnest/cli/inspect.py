"""`loopnest inspect`: what the compiler made of a rung, and what limits it."""

from typing import Any

import click

from ..operation import Operation
from .options import DTYPE, JSON, an_operation, failures, number, print_json, rung, stacked, workload
from .progress import busy, console

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
@click.argument("operation", callback=an_operation)
@click.argument("impl")
@stacked(
    *(click.option(f"--{name}", "aspects", flag_value=name, multiple=True, help=text) for name, text in ASPECTS.items())
)
@click.option("--step", type=click.IntRange(1, 2**32), help="With --accuracy: every STEP-th number; 1 is all of them.")
@number("--calls", help="With --counters: calls that are counted.")
@click.option("--isa", help="The ISA level of the machine code: v1, v3 or v4; by default the active one.")
@DTYPE
@click.option("--cpu", help="The processor that the bound is for, as 'Zen 3' or 'Golden Cove'; by default this one.")
@click.option("--no-measure", is_flag=True, help="Do not run the rung: only read its code.")
@click.option("--gpu", help="The compute capability of PTX, SASS and occupancy; 9.0 by default.")
@workload("the largest")
@JSON
def command(operation: Operation, impl: str, aspects: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Look into one rung: what became of its source, OPERATION and IMPL as in `loopnest inspect matmul cpp.packed`.

    By default it shows what says most: of a compiled rung the hot loop, counted, with what bounds it; docs/inspect.md
    says how to read it. Aspects can be combined.

    \b
    loopnest inspect matmul cpp.packed --isa v3 --dtype float64
    loopnest inspect matmul cpp.naive --remarks           what the compiler did not vectorize, and why
    loopnest inspect gelu cpp.simd --source --asm
    loopnest inspect matmul cpp.packed --counters
    loopnest inspect gelu cpp.simd --accuracy
    """
    from ..inspect import InspectError, inspect, tables

    options["measure"] = not options.pop("no_measure")
    k = rung(operation, impl)
    with failures(InspectError), busy(f"looking into {operation.name} {k.id}"):
        shown = inspect(k, *aspects, **options)
    if as_json:
        print_json(shown)
    elif not console().is_terminal:
        click.echo(tables.text(shown))
    else:
        tables.show(shown, console())
