"""Running the benchmark suites: pytest in a process of its own; every result arrives here as it is made.

>>> from loopnest.bench.suites import run_suites
>>> results = run_suites(["matmul"], quick=True)            # doctest: +SKIP
>>> max(results.records, key=lambda r: r.gflops).impl       # doctest: +SKIP
'numpy.matmul'
"""

from __future__ import annotations

import importlib.util
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

from .measure import QUICK
from .records import Results
from .reporting import Collector, OnEvent, ignore

NO_TESTS = 5
"""pytest's exit status where it has run none."""


def suites_folder() -> Path:
    """The folder of the bench_*.py files: installed with the package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "benchmarks"
    return installed if installed.exists() else package.parents[1] / "benchmarks"


def why_not_here() -> str | None:
    """What a benchmark run lacks and how to get it, or None where it has all."""
    if not all(map(importlib.util.find_spec, ("pytest", "pytest_benchmark"))):
        return "pytest or pytest-benchmark is not installed, and benchmarks need both: pip install 'loopnest[bench]'"
    return None


def run_suites(
    suites: Sequence[str],
    *,
    quick: bool = False,
    seconds: float | None = None,
    select: str | None = None,
    workload: str | None = None,
    operation: str | None = None,
    limits: bool = False,
    dtype: str = "float32",
    on_event: OnEvent = ignore,
) -> Results:
    """Run these suites, and return what was measured until the end, or until Ctrl-C.

    quick     fewer and smaller workloads, in under a minute
    seconds   the whole run ends after about this time
    workload  ladders run on this one alone: a name, or lengths such as 17x4096x33
    operation of the suite `curve`
    select    run only the benchmarks of matching names, as pytest's -k does
    dtype     the inputs' of ladders; in reduced precision only suites whose operations take it have rows
    limits    whether records have the limits of the machine card
    on_event  is called with ("start", the number of benchmarks), ("running", a name), and a kind and a row of results

    A benchmark that ends the process, by a crash or for lack of memory, is a failure. The rest of its suite is left
    out; the suites after it run.
    """
    end = time.perf_counter() + (seconds or (QUICK.total if quick else math.inf))
    run, left = Collector(Results(None, ()), on_event), list(suites)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**own, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # we may be in a pytest session ourselves
    if path := own.get("PYTHONPATH"):  # it runs in another folder
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    while left:
        options = [*(["--quick"] if quick else []), *([] if limits else ["--no-limits"])]
        options += [f"--seconds={max(1.0, end - time.perf_counter())}"] if end < math.inf else []
        options += ["--op", operation] if operation is not None else []
        options += [f"--dtype={dtype}"]
        options += ["-k", select] if select is not None else []
        options += [f"--workload={workload}"] if workload else []
        failed = len(run.results.failures)
        status, how_it_ended = run.run([*_pytest(left), *options], environment, suites_folder())
        reported = len(run.results.failures) > failed
        if status in (None, 0, 1) or (status == NO_TESTS and len(left) < len(suites)) or (status > 1 and reported):
            break
        file, _, test = run.at.partition("::")
        run.add("failures", {"name": test or "pytest", "message": how_it_ended})
        if status > 0 or not test:
            break
        died = Path(file).stem.removeprefix("bench_")
        left = left[left.index(died) + 1 :]
    return run.results


def _pytest(suites: Sequence[str]) -> list[str]:
    folder = suites_folder()
    return [
        *("-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "-o", "python_files=bench_*.py"),
        *("-p", "pytest_benchmark.plugin", "--benchmark-quiet", "-p", "no:cacheprovider", "--assert=plain"),
        *(f"bench_{suite}.py" for suite in suites),  # in this folder: pytest takes brackets in a path for a test's name
    ]
