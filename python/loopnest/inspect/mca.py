"""llvm-mca's view of a hot loop: a simulation of the core by LLVM's model of the processor.

https://llvm.org/docs/CommandGuide/llvm-mca.html. It assumes that all data lies in L1 and that every branch is guessed
right, as the bound of ports.py does, but follows each instruction through the core's queues.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from .ports import Family
from .records import InspectError, Loop

ITERATIONS = 200


@dataclass(frozen=True)
class Simulation:
    """What llvm-mca found.

    model    the processor whose model it used, as -mcpu
    exact    whether that is this processor's
    cycles   of an iteration, in the long run
    summary  its own lines
    pressure each unit that is used, by how many cycles of an iteration
    """

    model: str
    exact: bool
    version: str
    cycles: float
    instructions_per_cycle: float
    summary: tuple[str, ...]
    pressure: tuple[str, ...]


def tool() -> str:
    """llvm-mca's command. Raises InspectError where it is not installed."""
    names = ["llvm-mca", *(f"llvm-mca-{n}" for n in range(30, 10, -1))]
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise InspectError("llvm-mca is not installed: on Debian, apt install llvm; on macOS, brew install llvm")
    return found


def simulate(loop: Loop, family: Family | None) -> Simulation:
    """Run the loop through llvm-mca, with the model of this family, or the nearest that this llvm-mca has.

    Raises InspectError where llvm-mca is missing, or no model takes all of the loop's instructions.
    """
    command, text, refused = tool(), assembly(loop), ""
    models = family.models if family is not None else ()
    for model in (*models, *(m for m in FALLBACKS if m not in models)):
        told = subprocess.run(
            [command, "-mtriple=x86_64", f"-mcpu={model}", f"-iterations={ITERATIONS}", "-instruction-info=0"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode == 0 and "not a recognized processor" not in told.stderr:
            exact = bool(models) and model == models[0]
            return _simulation(told.stdout, model, exact, _version(command))
        refused = refused or next((line for line in told.stderr.splitlines() if "error" in line), "")
    raise InspectError(f"llvm-mca takes this loop with none of its models: {refused}")


FALLBACKS = ("icelake-server", "skylake-avx512", "skylake")
"""Models of AVX-512 and of AVX2 that every llvm-mca has."""


def assembly(loop: Loop) -> str:
    """The loop as an assembler reads it: its jumps, wherever they go, go to its top."""
    lines = [".intel_syntax noprefix", "top:"]
    for one in loop.instructions:
        if one.kind == "branch":
            lines.append(f"{one.mnemonic} top")
        elif one.kind == "call":
            lines.append("call top")
        else:
            lines.append(one.text)
    return "\n".join(lines) + "\n"


def _version(command: str) -> str:
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\S+)", told)
    return found[1] if found else "?"


def _simulation(report: str, model: str, exact: bool, version: str) -> Simulation:
    facts = dict(re.findall(r"^([A-Za-z ]+):\s+([\d.]+)$", report, re.MULTILINE))
    if "Total Cycles" not in facts:
        raise InspectError(f"llvm-mca {version} printed no summary: {report[:200]!r}")
    cycles, per_cycle = float(facts["Total Cycles"]) / ITERATIONS, float(facts.get("IPC", 0))
    summary = tuple(f"{name}: {value}" for name, value in facts.items())
    return Simulation(model, exact, version, cycles, per_cycle, summary, _pressure(report))


def _pressure(report: str) -> tuple[str, ...]:
    """The busiest units first; a unit of several pipes is told as the sum of these."""
    names = dict(re.findall(r"^\[([\d.]+)\]\s+- (\S+)$", report, re.MULTILINE))
    found = re.search(r"pressure per iteration:\n(.*)\n(.*)\n", report)
    if found is None:
        return ()
    busy: dict[str, float] = {}
    for number, value in zip(re.findall(r"\[([\d.]+)\]", found[1]), found[2].split(), strict=False):
        if value != "-":
            busy[names.get(number, number)] = busy.get(names.get(number, number), 0.0) + float(value)
    return tuple(f"{name:12} {cycles:6.2f}" for name, cycles in sorted(busy.items(), key=lambda pair: -pair[1]))
