"""llvm-mca's view of a hot loop: a simulation of the core by LLVM's model of the processor.

https://llvm.org/docs/CommandGuide/llvm-mca.html. Like the bound of families.py it assumes that all data lies in L1 and
that every branch is predicted; beyond that, it follows each instruction through the core's queues.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from .families import Family
from .records import InspectError, Line, Listing, Loop

ITERATIONS = 200

FALLBACKS = ("znver4", "znver3", "icelake-server", "skylake-avx512")
"""Models for processors that this llvm-mca does not know; Zen 3's knows no AVX-512."""


def tool() -> str:
    """llvm-mca's command. Raises InspectError if it is not installed."""
    found = next(filter(None, map(shutil.which, ["llvm-mca", *(f"llvm-mca-{n}" for n in range(30, 10, -1))])), None)
    if found is None:
        raise InspectError("llvm-mca is not installed: on Debian, apt install llvm; on macOS, brew install llvm")
    return found


def simulate(loop: Loop, family: Family | None, title: str) -> Listing:
    """Run the loop through llvm-mca, with the model of this family, or the nearest one that this llvm-mca has.

    Raises InspectError if llvm-mca is missing, or no model knows all of the loop's instructions.
    """
    command = tool()
    jumps = ("branch", "call")  # wherever they go, here they go to the top
    body = (f"{one.mnemonic} top" if one.kind in jumps else one.text for one in loop.instructions)
    text = "\n".join([".intel_syntax noprefix", "top:", *body, ""])
    models = family.models if family is not None else ()
    for model in (*models, *FALLBACKS):
        options = ["-mtriple=x86_64", f"-mcpu={model}", f"-iterations={ITERATIONS}", "-bottleneck-analysis"]
        options += ["-instruction-info=0", "-resource-pressure=0"]
        ran = subprocess.run([command, *options], input=text, capture_output=True, text=True, check=False)
        if ran.returncode == 0 and "not a recognized processor" not in ran.stderr:
            break
    else:
        raise InspectError(f"no model of llvm-mca knows all of this loop's instructions: {ran.stderr.strip()}")
    facts = dict(re.findall(r"^([A-Za-z ]+):\s+([\d.]+)$", ran.stdout, re.MULTILINE))
    cycles = float(facts["Total Cycles"]) / ITERATIONS
    notes = [f"{cycles:.3g} cycles an iteration, {facts['IPC']} instructions a cycle."]
    if loop.bound is not None:
        notes.append(f"The bound of --hot is {loop.bound.cycles:.3g} cycles, by {loop.bound.name}.")
    if model not in models:
        here = family.name if family else "this CPU"
        notes.append(f"This llvm-mca has no model of {here}: this is {model}'s, another core.")
    lines = tuple(Line(line) for line in ran.stdout.rstrip().splitlines())
    return Listing(f"llvm-mca's view of {title}", "text", lines, None, tuple(notes), {"model": model, "cycles": cycles})
