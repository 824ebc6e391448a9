"""Running the benchmark suites: pytest in a process of its own; every result arrives here as it is made.

>>> from loopnest.bench.suites import run_suites
>>> results = run_suites(["matmul"], quick=True)            # doctest: +SKIP
>>> max(results.records, key=lambda r: r.gflops).impl       # doctest: +SKIP
'numpy.matmul'
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..machine.records import MachineCard
from ..output.files import save_json
from .measure import QUICK
from .records import Collector, Results

NO_TESTS = 5
"""pytest's exit status where it has run none."""


def suites_folder() -> Path:
    """The folder of the bench_*.py files: installed with the package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "benchmarks"
    return installed if installed.exists() else package.parents[1] / "benchmarks"


def why_not_here() -> str | None:
    """What a benchmark run lacks and how to get it, or None where it has all."""
    if importlib.util.find_spec("pytest") is None:
        return "pytest is not installed, and benchmarks need it: pip install 'loopnest[bench]'"
    return None


def run_suites(
    suites: Sequence[str],
    *,
    quick: bool = False,
    seconds: float | None = None,
    select: str | None = None,
    card: MachineCard | None = None,
    on_event: Callable[[str, Any], None] = lambda kind, content: None,
) -> Results:
    """Run these suites, and return what was measured until the end, or until Ctrl-C.

    quick     fewer and smaller workloads, in under a minute
    seconds   the whole run ends after about this time
    select    run only the benchmarks of matching names, as pytest's -k does
    card      the machine's, for the records' limits
    on_event  is called with ("start", the number of benchmarks), ("running", a name), and what becomes a record,
              not_run or failure

    A benchmark that ends the process, by a crash or for lack of memory, is a failure. The rest of its suite is left
    out; the suites after it run.
    """
    end = time.perf_counter() + (seconds or (QUICK.total if quick else math.inf))
    run, left = Collector(), list(suites)

    def take(kind: str, content: Any) -> None:
        run.add(kind, content)
        on_event(kind, content)

    with tempfile.TemporaryDirectory() as folder:
        card_file = Path(folder, "machine.json") if card else "none"
        if card:
            save_json(msgspec.to_builtins(card), Path(card_file))
        while left:
            options = [f"--machine-card={card_file}", *(["--quick"] if quick else [])]
            options += [f"--seconds={max(1.0, end - time.perf_counter())}"] if end < math.inf else []
            options += ["-k", select] if select is not None else []
            failed, run.running = len(run.failures), ""
            status, how_it_ended = run_reporting([*_pytest(left), *options], _environment(), take)
            if status is None:
                return run.results(interrupted=True)
            nothing_left = status == NO_TESTS and len(left) < len(suites)
            if status in (0, 1) or nothing_left or (status > 1 and len(run.failures) > failed):
                break
            file, _, test = run.running.partition("::")
            run.add("failure", {"name": test or "pytest", "message": how_it_ended})
            if status > 0 or not test:
                break
            died = Path(file).stem.removeprefix("bench_")
            left = left[left.index(died) + 1 :]
    return run.results()


def _pytest(suites: Sequence[str]) -> list[str]:
    folder = suites_folder()
    return [
        *("-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "-o", "python_files=bench_*.py"),
        *("-p", "no:cacheprovider", "--assert=plain"),
        *(str(folder / f"bench_{suite}.py") for suite in suites),
    ]


def _environment() -> dict[str, str]:
    """Without the variables of a pytest session that we may be in."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**ours, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run_reporting(
    command: Sequence[str], environment: Mapping[str, str], on_event: Callable[[str, Any], None]
) -> tuple[int | None, str]:
    """Run Python in a process of its own: its exit status, None where Ctrl-C ended it; and how it ended, in words.

    command   Python's command line; `--events FD` is added: the process writes an event there as a line of JSON
    on_event  is called with the kind and the content of each

    The process is in a session of its own, so that Ctrl-C comes to us alone; what it has reported is kept.
    """
    receive, send = os.pipe()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", *command, "--events", str(send)],  # -P: nothing from the current folder
            pass_fds=[send],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        os.close(send)
        try:
            with os.fdopen(receive, encoding="utf-8") as events:
                for line in events:
                    if line.endswith("\n"):  # a killed process may leave half a line
                        on_event(*json.loads(line))
            status: int | None = process.wait()
        except KeyboardInterrupt:
            status = None
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        code = status or 0
        ended = f"ended with status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        return status, "\n".join([f"the benchmark process {ended}", *output.read().splitlines()[-20:]])
