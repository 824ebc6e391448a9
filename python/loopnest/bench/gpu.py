"""The GPU's rungs: held to their contracts, checked by compute-sanitizer, timed: `loopnest bench gpu`.

benchmarks/bench_gpu.py does the work in processes of its own, so that a rung that crashes or hangs ends only its
process: what was found until then is kept, and another process goes on without that rung. A rehearsal does all of it
with the simulations in the GPU's place, and times nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from rich.console import RenderableType

from ..backends.cuda_device import why_no_device
from ..backends.threads import processors
from ..machine.tables import report as report_of_card
from ..operations import OPERATIONS
from ..output.files import save_json
from ..output.tables import Sheet
from ..output.text import counted, duration, three_digits
from .choices import groups
from .measure import ON_A_GPU
from .records import Check, Failure, Results
from .reporting import Collector, OnEvent, ignore
from .suites import suites_folder
from .tables import report as tables_of_times
from .tables import shown

PARTS = ("contract", "memcheck", "racecheck", "timing")

SANITIZERS = PARTS[1:3]

DEAD = 3
"""The exit status of a process whose device's context an error has broken: the error is reported already."""

REHEARSED = "rehearsed: it ran in a simulation on the CPU, right and not timed"

WHOLE = ("inputs", "rounds")
"""Where a process was that ended with no contender to blame: the workload is left out."""

RESTARTS = 20
"""How often a part goes on after a contender has ended its process."""

PATIENCE = 90.0
"""Seconds without an event after which a process hangs."""

SANITIZER_LIMIT = 75.0
"""Seconds of compute-sanitizer on the rungs of one operation."""

HOW = (
    "Times are the best of rounds in which all contenders take turns, by the GPU's events, of the kernels alone, with "
    "the L2 cache flushed before each."
)

CLEAN = re.compile(r"(?:ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards displayed \(0 errors, 0 warnings\))")
SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: .*")


def why_not_here() -> str | None:
    """Why nothing can run on a GPU here, and what can be done without, or None."""
    missing = (why_no_device() or "").rstrip(".")
    return f"no GPU was found: {missing}; `loopnest bench gpu --rehearse` needs none" if missing else None


def run_gpu(
    parts: Sequence[str] = PARTS,
    *,
    rehearse: bool = False,
    on_event: OnEvent = ignore,
    save: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Run these parts, and return what was found until the end, or until Ctrl-C.

    rehearse  in the simulations, on tiny inputs, without a time
    save      is called with the results so far whenever there are more
    """

    def noted(kind: str, content: object) -> None:
        on_event(kind, content)
        if kind in ("records", "checks", "machine", "failures"):
            save(run.results)

    run = Collector(Results(None, (), rehearsed=rehearse), noted)
    environment = child_environment(rehearse)
    on_event("start", len(parts))
    for part in parts:
        on_event("running", part)
        start = time.perf_counter()
        (_sanitize if part in SANITIZERS else _in_processes)(run, part, rehearse, environment)
        on_event("note", f"{part}: {time.perf_counter() - start:.0f} s")
        if run.results.interrupted:
            break
    save(run.results)
    return run.results


def child_environment(rehearse: bool) -> dict[str, str]:
    """The variables of the processes: the suites' folder, and the simulations or, on a GPU, neither of them."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = [str(suites_folder()), *(os.path.abspath(p) for p in own.get("PYTHONPATH", "").split(os.pathsep) if p)]
    simulated = {"LOOPNEST_CUDA_CPP": "simulated" if rehearse else "", "NUMBA_ENABLE_CUDASIM": "1" if rehearse else "0"}
    return {**own, **simulated, "PYTHONPATH": os.pathsep.join(path)}


def _in_processes(run: Collector[Results], part: str, rehearse: bool, environment: Mapping[str, str]) -> None:
    """Run a part to its end, in as many processes as it takes."""
    options, left_out, start = ["--rehearse"] if rehearse else [], list[str](), ""
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder, "card.json")
        for _ in range(RESTARTS):
            command = [str(suites_folder() / "bench_gpu.py"), part, *options]
            command += [word for name in left_out for word in ("--without", name)]
            command += ["--start", start] if start else []
            if run.results.machine:
                save_json(msgspec.to_builtins(run.results.machine), card)
                command += ["--card", str(card)]
            status, how_it_ended = run.run(command, environment, None, PATIENCE)
            if not status:
                return
            if status != DEAD:
                run.add("failures", msgspec.to_builtins(Failure(run.at or part, how_it_ended)))
            study, workload, contender = (*run.at.split(" / "), "", "")[:3]
            next_out = f"{study} / {workload if contender in WHOLE else contender}"
            if next_out in left_out:
                return
            if part == "contract":  # what was judged before is reported already
                judged = [check.subject.split() for check in run.results.checks if check.kind == part]
                left_out += [f"contract of {operation} / {k}" for operation, k in judged]
            elif study != "limits":
                start = f"{study} / {workload}"
            left_out.append(next_out)


# --- compute-sanitizer


def find_sanitizer() -> str | None:
    """compute-sanitizer's path: on PATH, or in the toolkit's folder."""
    homes = [os.environ.get("CUDA_HOME", ""), os.environ.get("CUDA_PATH", ""), "/usr/local/cuda"]
    places = [os.path.join(home, folder) for home in homes if home for folder in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=os.pathsep.join(places))


def _sanitize(run: Collector[Results], tool: str, rehearse: bool, environment: Mapping[str, str]) -> None:
    """Run the rungs of each operation below compute-sanitizer; in a rehearsal without it."""
    program = None if rehearse else find_sanitizer()
    if not rehearse and program is None:
        why = "compute-sanitizer was not found on PATH, in CUDA_HOME and in /usr/local/cuda: install the CUDA toolkit"
        run.add("failures", msgspec.to_builtins(Failure(tool, why)))
        return
    names = [name for name, operation in OPERATIONS.items() if any(k.backend in ON_A_GPU for k in operation)]
    started: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(max(1, min(len(names), processors() // 2))) as pool:
        try:
            how = [(tool, name, program, environment, started) for name in names]
            for found in pool.map(lambda one: _sanitize_one(*one), how):
                kind = "checks" if isinstance(found, Check) else "failures"
                run.add(kind, msgspec.to_builtins(found))
        except KeyboardInterrupt:
            run.add("interrupted", True)
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                _kill(process)


def _sanitize_one(
    tool: str, operation: str, program: str | None, environment: Mapping[str, str], started: list[subprocess.Popen[str]]
) -> Check | Failure:
    """compute-sanitizer's verdict on the rungs of an operation. Its log goes to a file, the rungs' lines to a pipe."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        wrapper = [program, "--tool", tool, "--log-file", str(log)] if program else []
        target = [sys.executable, "-P", str(suites_folder() / "bench_gpu.py"), "sanitized", "--operation", operation]
        process = subprocess.Popen(
            [*wrapper, *target, *([] if program else ["--rehearse"])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            text=True,
            errors="replace",
            start_new_session=True,
        )
        started.append(process)
        try:
            output, hung = process.communicate(timeout=SANITIZER_LIMIT)[0], False
        except subprocess.TimeoutExpired:
            _kill(process)
            output, hung = process.communicate()[0], True
        text = log.read_text(errors="replace") if log.exists() else ""
    return verdict(tool, operation, output, text, "hung" if hung else str(process.returncode), bool(program))


def _kill(process: subprocess.Popen[str]) -> None:
    """End the sanitizer and the process below it, which are a session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def verdict(tool: str, operation: str, output: str, log: str, ended: str, sanitized: bool) -> Check | Failure:
    """What a sanitizer's run showed. A failure is a run that did not reach its end, or that has no summary."""
    at = re.findall(r"^at: (.*)$", output, re.MULTILINE)
    calls = re.search(r"^calls: (\d+)$", output, re.MULTILINE)
    wrong = re.findall(r"^wrong: (.*)$", output, re.MULTILINE)
    summary = SUMMARY.search(log)
    errors = [line.lstrip("= ") for line in log.splitlines() if line.startswith("=========") and line.strip("= ")]
    problems = [*(errors[:12] if sanitized and summary and not CLEAN.search(log) else []), *wrong[:5]]
    if problems:
        return Check(tool, operation, int(calls[1]) if calls else len(at), tuple(problems))
    if calls and not int(calls[1]):
        return Failure(f"{tool}, {operation}", "\n".join(["no rung can run", *output.splitlines()[:5]]))
    if calls is None or (sanitized and summary is None):
        how = f"took longer than {SANITIZER_LIMIT:g} s" if ended == "hung" else f"ended with status {ended}"
        where = f" at {at[-1]}" if at else ""
        last = [*output.splitlines()[-5:], *errors[-5:]]
        return Failure(f"{tool}, {operation}", "\n".join([f"it {how}{where}", *last]))
    return Check(tool, operation, int(calls[1]))


# --- tables


def sheets(results: Results) -> Iterator[Sheet]:
    """What a run on a GPU has besides times: checks, transfers, clocks."""
    rows = [
        [check.kind, check.subject, str(check.calls), "; ".join(check.problems) or "none"] for check in results.checks
    ]
    if rows:
        notes = [f"{REHEARSED}, without compute-sanitizer"] if results.rehearsed else []
        yield Sheet("Checks of the rungs on a GPU", ["check", "of", "calls", "problems"], rows, 2, notes)
    if results.transfers:
        rates = [[t.what, three_digits(t.bytes / t.seconds / 1e9), duration(t.seconds)] for t in results.transfers]
        yield Sheet("Transfers", ["copy of 256 MiB", "GB/s", "time"], rates)
    if results.clocks:
        by_study = groups(results.clocks, lambda c: c.at.partition(" / ")[0])
        figures = [
            [study, *map(_range, *(dataclasses.astuple(c)[1:] for c in same))] for study, same in by_study.items()
        ]
        yield Sheet("Clocks while it was timed", ["study", "MHz", "MHz of memory", "°C", "W"], figures)


def _range(*values: float) -> str:
    low, high = (f"{pick(values):,.0f}" for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def report(results: Results, width: int) -> Iterator[RenderableType]:
    """What `loopnest bench gpu` prints."""
    yield from tables_of_times(results, True, width, HOW)
    yield from report_of_card(results.machine) if results.machine else ()
    wrong = [check for check in results.checks if check.problems]
    some = dataclasses.replace(results, checks=tuple(wrong)) if len(results.checks) > 20 else results
    remarks = [f"{counted(len(results.checks), 'check')}: {len(wrong)} found problems"] if results.checks else []
    yield from shown(None, "", sheets(some), remarks, width)
