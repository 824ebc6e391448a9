"""llvm-mca's view of a hot loop: a simulation of the core by LLVM's model of the processor.

https://llvm.org/docs/CommandGuide/llvm-mca.html. Like the bound of families.py it assumes that all data lies in L1 and
that every branch is predicted; beyond that, it follows each instruction through the core's queues.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from .families import Family
from .records import InspectError, Loop

ITERATIONS = 200

FALLBACKS = ("icelake-server", "skylake-avx512", "skylake")
"""Models of AVX-512 and of AVX2 that every llvm-mca has."""


@dataclass(frozen=True)
class Simulation:
    """llvm-mca's result.

    model    the processor of its model, as -mcpu
    exact    whether that is the requested processor
    cycles   of an iteration, in the long run
    lines    its own summary, and the cycles of an iteration that each unit is busy
    """

    model: str
    exact: bool
    version: str
    cycles: float
    instructions_per_cycle: float
    lines: tuple[str, ...]


def tool() -> str:
    """llvm-mca's command. Raises InspectError if it is not installed."""
    found = next(filter(None, map(shutil.which, ["llvm-mca", *(f"llvm-mca-{n}" for n in range(30, 10, -1))])), None)
    if found is None:
        raise InspectError("llvm-mca is not installed: on Debian, apt install llvm; on macOS, brew install llvm")
    return found


def simulate(loop: Loop, family: Family | None) -> Simulation:
    """Run the loop through llvm-mca, with the model of this family, or the nearest one that this llvm-mca has.

    Raises InspectError if llvm-mca is missing, or no model knows all of the loop's instructions.
    """
    command = tool()
    jumps = ("branch", "call")  # wherever they go, here they go to the top
    body = (f"{one.mnemonic} top" if one.kind in jumps else one.text for one in loop.instructions)
    text = "\n".join([".intel_syntax noprefix", "top:", *body, ""])
    models = family.models if family is not None else ()
    refused = ""
    for model in dict.fromkeys((*models, *FALLBACKS)):
        options = ["-mtriple=x86_64", f"-mcpu={model}", f"-iterations={ITERATIONS}", "-instruction-info=0"]
        ran = subprocess.run([command, *options], input=text, capture_output=True, text=True, check=False)
        if ran.returncode == 0 and "not a recognized processor" not in ran.stderr:
            return _simulation(ran.stdout, model, model in models[:1], _version(command))
        refused = refused or next((line for line in ran.stderr.splitlines() if "error" in line), "")
    raise InspectError(f"no model of llvm-mca knows all of this loop's instructions: {refused}")


def _version(command: str) -> str:
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\S+)", printed)
    return found[1] if found else "?"


def _simulation(report: str, model: str, exact: bool, version: str) -> Simulation:
    facts = dict(re.findall(r"^([A-Za-z ]+):\s+([\d.]+)$", report, re.MULTILINE))
    if "Total Cycles" not in facts:
        raise InspectError(f"llvm-mca {version} printed no summary: {report[:200]!r}")
    names = dict(re.findall(r"^\[([\d.]+)\]\s+- (\S+)$", report, re.MULTILINE))
    found = re.search(r"pressure per iteration:\n(.*)\n(.*)\n", report)
    busy: dict[str, float] = {}  # a unit with several pipes is their sum
    for number, value in zip(re.findall(r"\[([\d.]+)\]", found[1]), found[2].split(), strict=False) if found else ():
        if value != "-":
            busy[names.get(number, number)] = busy.get(names.get(number, number), 0.0) + float(value)
    units = [f"{name:12} {cycles:6.2f}" for name, cycles in sorted(busy.items(), key=lambda pair: -pair[1])]
    lines = [*(f"{name}: {value}" for name, value in facts.items()), "", "busy, cycles of an iteration:", *units]
    cycles = float(facts["Total Cycles"]) / ITERATIONS
    return Simulation(model, exact, version, cycles, float(facts.get("IPC", 0)), tuple(lines))
