"""Every rung of CUDA C++ held to its operation's contract, on the CPU; and what is simulated is called so, and never
timed."""

import itertools
import subprocess
import sys
import threading

import loopnest as ln
import numpy as np
import pytest
from click.testing import CliRunner
from ladders import DTYPES, OPERATIONS
from loopnest import verify as judge_by
from loopnest.backends import SIMULATED
from loopnest.bench.duel import RefusedError, duel
from loopnest.cli import main
from loopnest.inspect import InspectError, inspect
from loopnest.verify import Case, judge, verify

RUNGS = [k for operation in OPERATIONS.values() for k in operation if k.backend == "cuda_cpp"]

rungs = pytest.mark.parametrize("rung", RUNGS, ids=lambda k: f"{k.operation.name}-{k.id}")
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
pytestmark = pytest.mark.usefixtures("simulated")


def test_there_are_the_promised_rungs():
    ids = {(k.operation.name, k.variant) for k in RUNGS}
    matmuls = ["naive", "coalesced", "tiled", "register_tiled", "vectorized", "warp_tiled", "double_buffered"]
    assert ids >= {("matmul", variant) for variant in matmuls}
    assert ids >= {(name, variant) for name in ("gelu", "gelu_backward") for variant in ("elementwise", "vectorized")}
    assert ids >= {(name, variant) for name in ("mlp_forward", "mlp_backward") for variant in ("composed", "fused")}
    assert all(k.available() for k in RUNGS), RUNGS[0].why_unavailable()


def every_fifth(cases):
    """A part of the cases: what is exact for an MLP takes longer to compute than what is judged by it."""
    return lambda implementation, dtype: itertools.islice(cases(implementation, dtype), 0, None, 5)


@rungs
@dtypes
@pytest.mark.parametrize("cases", ["size_cases", "layout_cases", "special_cases"])
def test_a_rung_meets_its_contract(rung, dtype, cases):
    kind = getattr(judge_by, cases)
    findings = verify(rung, [dtype], [every_fifth(kind) if "mlp" in rung.operation.name else kind])
    assert not findings, "\n".join(findings)


@rungs
@pytest.mark.parametrize("shape", [(131, 40, 270, 9), (300, 5, 130, 20)], ids=str)
def test_several_blocks_in_each_direction_each_with_a_ragged_edge(rung, shape):
    axes = rung.operation.contract.workloads[0].shape
    assert judge(rung, Case(rung.operation, np.dtype(np.float32), tuple(zip(axes, shape, strict=False)))) == []


@dtypes
@pytest.mark.parametrize("layouts", list(itertools.product(("in C order", "in Fortran order"), repeat=2)), ids=str)
def test_tiles_inside_and_at_the_edges_of_matrices_whose_packs_lie_in_rows_or_in_columns(dtype, layouts):
    shape = (("m", 132), ("k", 24), ("n", 260))  # multiples of four: all packs are whole
    for variant in ("vectorized", "warp_tiled", "double_buffered"):
        assert judge(ln.matmul[f"cuda_cpp.{variant}"], Case(ln.matmul, dtype, shape, layouts)) == []


@dtypes
def test_a_grid_stride_loop_goes_round_more_than_once(dtype):
    """1024 blocks of 128 threads, with two or four elements at once, and two packs of them forward."""
    for rung in OPERATIONS["gelu"]:
        if rung.backend == "cuda_cpp":
            width = 1_100_011 if rung.variant == "vectorized" else 140_003
            x = np.linspace(-3, 3, width, dtype=dtype)
            np.testing.assert_allclose(rung(x), ln.gelu(x), rtol=1e-5, atol=1e-6)


def test_small_facts():
    product = ln.matmul(np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]]), impl="cuda_cpp")
    np.testing.assert_array_equal(product, [[19, 22], [43, 50]])
    x = np.array([-10, -5.5, 0, 10], np.float32)
    for form, expected in (("none", -7.62e-23), ("tanh", -1.204e-37)):
        y = ln.gelu(x, approximate=form, impl="cuda_cpp")
        np.testing.assert_allclose(y[0], expected, rtol=2e-3)
        assert y[3] == 10


def test_many_threads_may_call_at_once():
    rng = np.random.default_rng(1)
    pairs = [(rng.standard_normal((20, n)), rng.standard_normal((n, 9))) for n in range(1, 17)]
    results = [None] * len(pairs)

    def call(i):
        results[i] = ln.matmul(*pairs[i], impl="cuda_cpp.tiled")

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(pairs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (a, b), c in zip(pairs, results, strict=True):
        np.testing.assert_allclose(c, a @ b, rtol=1e-12, atol=1e-12)


# --- labels


def test_lists_and_lessons_say_that_it_is_simulated():
    for arguments in (["list", "matmul"], ["show", "matmul", "cuda_cpp.tiled"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0
        assert "simulated" in result.output
    assert "simulated" in repr(ln.matmul["cuda_cpp.tiled"])
    assert ln.matmul["cuda_cpp.tiled"].simulated()
    assert not ln.matmul["cpp.naive"].simulated()


def test_findings_say_that_it_is_simulated(monkeypatch):
    def wrong(a, b, out):
        out[...] = 0

    monkeypatch.setattr(ln.matmul["cuda_cpp.tiled"], "kernel", wrong)
    findings = verify(ln.matmul["cuda_cpp.tiled"], [np.float32], [judge_by.layout_cases])
    assert findings
    assert all("simulated" in finding for finding in findings)


def test_nothing_times_what_is_simulated():
    with pytest.raises(RefusedError, match="simulated on the CPU"):
        duel(ln.matmul, "cuda_cpp.tiled", "cpp.naive", seconds=0.1)
    with pytest.raises(InspectError, match="simulated on the CPU"):
        inspect(ln.matmul["cuda_cpp.tiled"], "counters")
    result = CliRunner().invoke(main, ["duel", "matmul", "cpp.naive", "cuda_cpp"])
    assert result.exit_code == 1
    assert SIMULATED in result.output


def test_bench_leaves_simulated_rungs_out_with_the_reason(tmp_path):
    """In a process of its own, whose records say why there is no time."""
    code = (
        "from loopnest.bench.suites import run_suites\n"
        "results = run_suites(('matmul',), quick=True, select='cuda_cpp and 64')\n"
        "print(len(results.records), *{row.reason for row in results.not_run}, sep='\\n')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["0", SIMULATED]


# --- where it is not simulated


def test_without_a_device_it_is_listed_with_the_reason_and_the_fix(monkeypatch):
    monkeypatch.setenv("LOOPNEST_CUDA_CPP", "")
    rung = ln.matmul["cuda_cpp.tiled"]
    if rung.available():
        pytest.skip("there is a GPU here")
    reason = rung.why_unavailable()
    assert "LOOPNEST_CUDA_CPP=simulated" in reason or "pip install 'loopnest[cuda]'" in reason
    with pytest.raises(ln.UnavailableError, match=r"cuda_cpp\.tiled cannot run here"):
        rung(np.ones((2, 2)), np.ones((2, 2)))


def test_another_word_than_simulated_is_refused(monkeypatch):
    monkeypatch.setenv("LOOPNEST_CUDA_CPP", "simulate")
    assert ln.matmul["cuda_cpp"].why_unavailable() == (
        "LOOPNEST_CUDA_CPP is 'simulate', expected 'simulated', or nothing for a GPU"
    )
