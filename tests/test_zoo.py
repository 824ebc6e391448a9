"""The judge and the zoo: kernels that cheat, are wrong or crash are caught and named; no honest one is refused."""

import importlib.util
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from loopnest.backends.compiler import FLAGS
from loopnest.check import check
from loopnest.check.build import build
from loopnest.check.race import Ladder, NotRaced, race
from loopnest.check.timed import redrawn, timed_probe, whole
from loopnest.operations import OPERATIONS
from loopnest.process.session import BUSY, Session
from submissions import zoo

QUICK = (
    "bfloat16_sums_in_float.c",
    "bytes.c",
    "from_the_end.c",
    "joined_threads.c",
    "numpy_returned.py",
    "strided.cpp",
)
"""Honest kernels of several kinds: all others are in the slow tests."""

TIMED = ("keeps_scratch_memory.py", "numba_loops.py", "openmp.c", "pool_of_threads.py", "torch_matmul.py")
"""Honest kernels that the race could refuse, for their threads, memory or compilers: they are timed, too."""

HAS = {"numba": True, "torch": importlib.util.find_spec("torch") is not None}

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="kernels in C need a C compiler"),
    pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="the judge catches the same signals as a sanitizer"),
]


def submissions(*kinds, quick=()):
    """The zoo's kernels of these kinds; all but `quick` are slow tests: their names, or one of that number."""

    def marks(i, submission):
        slow = i % quick if isinstance(quick, int) else submission.file.name not in quick
        return [*_needs(submission), *([pytest.mark.slow] if slow else [])]

    return pytest.mark.parametrize(
        "submission",
        [pytest.param(s, id=s.name, marks=marks(i, s)) for i, s in enumerate(zoo(*kinds))],
    )


def _needs(submission):
    uses = re.findall(r"^import (torch)$", submission.file.read_text(encoding="utf-8"), re.MULTILINE)
    return [pytest.mark.skip(reason=f"{name} is not installed") for name in uses if not HAS[name]]


@submissions("tricks", "faults", "crashes", quick=9)
def test_is_caught_and_named(submission):
    how = {"seconds": 0.2, "time_limit": 9, "memory_limit": 1 << 29, "dtype": submission.dtype}
    verdict = check(submission.file, submission.operation, **how)
    assert not verdict.accepted
    assert submission.verdict in (verdict.fault, verdict.outcome), (verdict.fault, verdict.outcome, verdict.details)
    assert verdict.sentence
    assert verdict.exit_code > 2
    assert verdict.seconds < 9 * BUSY


def test_a_nan_that_leaks_and_forms_of_reduced_precision(tmp_path):
    (leaks,) = (s for s in zoo("faults") if s.verdict == "nan-leaks")
    assert check(leaks.file, "matmul", dtype="bfloat16", seconds=0).fault == "nan-leaks"
    (bytes_,) = (s for s in zoo("honest") if s.dtype == "int8")
    said = check(bytes_.file, "matmul", seconds=0)
    assert said.outcome == "wrong-signature"
    assert "in reduced precision with --dtype" in " ".join((said.sentence, *said.details))
    said = check(bytes_.file, "matmul", dtype="bfloat16", seconds=0)
    assert "const uint16_t* a, const uint16_t* b, uint16_t* c" in " ".join((said.sentence, *said.details))
    with pytest.raises(
        ValueError, match="dtype is int8, expected float32 or float64 or bfloat16 or float16 for linear"
    ):
        check(bytes_.file, "linear", dtype="int8")
    torch_file = tmp_path / "with_torch.py"
    torch_file.write_text("import torch\n\n\ndef linear(x, w, b):\n    return torch.addmm(b, x, w)\n")
    if HAS["torch"]:
        assert check(torch_file, "linear", dtype="bfloat16", seconds=0).accepted


@submissions("vain")
def test_gains_nothing(submission, tmp_path):
    """All that its processes do counts, wherever and whenever they do it. What is cut off by the judge is refused."""
    operation, name, dtype = OPERATIONS[submission.operation], submission.file.name, np.dtype(np.float32)
    workload = {"matmul": "square-256", "relu": "n-1048576"}[operation.name]
    with Session(submission.file, time.monotonic() + 60) as host:
        kernel, refusal = build(submission.file, operation, host, dtypes=(dtype,), flags=FLAGS, compiler=None)
        assert refusal is None
        host.ask({"do": "time"})
        if name == "slows_its_rivals.py":
            with pytest.raises(NotRaced, match="priority 19"):
                race(kernel, Ladder(operation, 1), seconds=0.2)
            return
        right, waited_for = True, host.family.waited_for()
        for _ in range(30 if name == "two_processes.py" else 4):
            probe = redrawn(timed_probe(operation, workload, dtype), np.random.default_rng())
            reply = kernel.call(probe, name)
            right = right and kernel.judged(whole(probe), reply).right
            assert reply.counted >= 0.9 * reply.processor - 1e-4
            assert reply.counted >= 2e-3 or name != "queues_behind_its_helpers.c"
        assert right or name == "finishes_in_the_grace.py"
        assert host.family.waited_for() > waited_for or name != "two_processes.py"


@submissions("honest", quick=QUICK)
def test_is_not_refused(submission):
    seconds = 0.2 * (submission.file.name in TIMED)
    verdict = check(submission.file, submission.operation, seconds=seconds, time_limit=60, dtype=submission.dtype)
    assert verdict.accepted, (verdict.sentence, verdict.details)
    assert (verdict.outcome, verdict.fault) in (("right", None), ("right-as-far-as-asked", None))  # some are slow


def test_there_are_as_many_as_were_asked_for():
    assert len(zoo("tricks", "faults")) >= 30
    assert len(zoo("honest")) >= 20
    assert len(zoo("crashes")) >= 12
    assert all(s.verdict for s in zoo("tricks", "faults", "crashes"))
    assert not any(s.verdict for s in zoo("honest", "vain"))


def test_the_page_has_them_all_with_their_verdicts():
    page = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[[^]]+\]\(\.\./tests/zoo/([^)]+)\).*?\| \*\*([a-z0-9-]+)\*\*:", page, re.MULTILINE))
    assert rows == {s.name: s.verdict or "right" for s in zoo()}
