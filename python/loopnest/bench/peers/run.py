"""Starting the comparison's processes, one a part, and collecting what they tell.

>>> from loopnest.bench.peers.run import run_peers
>>> results = run_peers(["gelu"], quick=True)                  # doctest: +SKIP
>>> [(v.bar.work, v.figure) for v in verdicts(results.items)]  # doctest: +SKIP
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ...timing.environment import SLOWING, Environment
from ..process import how_it_ended, run_telling
from ..records import Failure
from ..suites import suites_folder
from .bars import TITLES
from .records import Absent, Item, PeerResults

PARTS = tuple(TITLES)

THREADS = {"threads": 2, "torch-mlp-threads": 2}
"""How many threads a part's process may use; one where it is not here."""

THREAD_VARIABLES = (
    *("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMBA_NUM_THREADS", "LOOPNEST_NUM_THREADS"),
)


def why_not_here() -> str | None:
    """What a run lacks and how to get it, or None where it has all; torch and JAX may be missing."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return "threadpoolctl is not installed, and names the BLAS kernels: pip install 'loopnest[peers]'"
    return None


def child_environment(threads: int, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that measures: so many threads for every library, and nothing that makes OpenBLAS
    take other kernels or block sizes than it has for this processor."""
    kept = {name: value for name, value in variables.items() if name not in SLOWING}
    counts = dict.fromkeys(THREAD_VARIABLES, str(threads))
    xla = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    return {**kept, **counts, "XLA_FLAGS": f"{kept.get('XLA_FLAGS', '')} {xla}".strip(), "JAX_PLATFORMS": "cpu"}


def run_peers(
    parts: Sequence[str] = PARTS,
    *,
    quick: bool = False,
    on_event: Callable[[str, Any], None] = lambda kind, content: None,
) -> PeerResults:
    """Compare loopnest with its peers in these parts, and return what was measured until the end or Ctrl-C.

    quick     fewer sizes, each for a shorter time
    on_event  is called with ("start", the number of parts), ("running", a part), ("at", a piece of work), and what
              becomes an item, absent or failure
    """
    collected = _Collected(on_event)
    on_event("start", len(parts))
    interrupted = False
    for part in parts:
        on_event("running", part)
        status = _run(part, quick, collected)
        interrupted = status is None
        if interrupted:
            break
    return collected.results(quick, interrupted)


def _run(part: str, quick: bool, collected: _Collected) -> int | None:
    """The exit status of the part's process, or None where Ctrl-C ended it."""
    suite, options = str(suites_folder() / "bench_peers.py"), ["--quick"] if quick else []
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        status = run_telling(
            lambda send: [suite, part, "--events", str(send), *options],
            child_environment(THREADS.get(part, 1), os.environ),
            output,
            collected.add,
        )
        if status:
            collected.failures.append(Failure(collected.at or part, how_it_ended(status, output)))
    return status


class _Collected:
    """What has arrived so far."""

    def __init__(self, on_event: Callable[[str, Any], None]) -> None:
        self._on_event = on_event
        self.at = ""
        self.environment: Environment | None = None
        self.items: list[Item] = []
        self.absent: list[Absent] = []
        self.failures: list[Failure] = []

    def add(self, line: str) -> None:
        kind, content = json.loads(line)
        if kind == "at":
            self.at = content
        elif kind == "environment":
            self.environment = self.environment or msgspec.convert(content, Environment)
        elif kind == "item":
            self.items.append(Item.from_json(content))
        elif kind == "absent" and Absent(**content) not in self.absent:
            self.absent.append(Absent(**content))
        elif kind == "failure":
            self.failures.append(Failure(**content))
        self._on_event(kind, content)

    def results(self, quick: bool, interrupted: bool) -> PeerResults:
        found = tuple(self.items), tuple(self.absent), tuple(self.failures)
        return PeerResults(self.environment, *found, quick=quick, interrupted=interrupted)
