"""Every rung of numba.cuda and CUDA C++ held to its whole contract on a true GPU; elsewhere these are skipped."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from devices import why_no_true_device
from loopnest import OPERATIONS, backends
from loopnest import verify as judge_by
from loopnest.arrays import dtype_called
from loopnest.backends.launches import recorded
from loopnest.verify import verify

RUNGS = [k for operation in OPERATIONS.values() for k in operation.rungs() if k.backend in ("cuda", "cuda_cpp")]

KINDS = [judge_by.size_cases, judge_by.layout_cases, judge_by.special_cases, judge_by.large_cases]


def every_fifth(cases):
    """A part of the cases: what is exact for an MLP takes longer to compute than what is judged by it."""
    return lambda implementation, dtype: itertools.islice(cases(implementation, dtype), 0, None, 5)


@pytest.mark.device
@pytest.mark.parametrize(
    ("rung", "dtype"),
    [pytest.param(k, name, id=f"{k.operation.name}-{k.id}-{name}") for k in RUNGS for name in k.dtypes],
)
def test_a_rung_meets_its_contract_on_the_device(rung, dtype):
    if rung.why_unavailable():
        pytest.skip(rung.why_unavailable())
    assert not rung.simulated()
    kinds = [every_fifth(kind) if "mlp" in rung.operation.name else kind for kind in KINDS]
    findings = verify(rung, [dtype_called(dtype)], kinds)
    assert not findings, "\n".join(findings)


@pytest.mark.device
def test_cuda_cpp_numba_and_torch_work_in_one_process_and_are_timed_by_one_clock():
    from loopnest.timing.gpu_clock import GpuClock

    torch = pytest.importorskip("torch")
    a, b = np.random.default_rng(0).standard_normal((2, 512, 512)).astype(np.float32)
    clock, on_gpu = GpuClock(), [torch.from_numpy(x).cuda() for x in (a, b)]
    ways = {"torch": [lambda: torch.mm(*on_gpu)]}
    for rung in (k for k in OPERATIONS["matmul"] if k.backend in ("cuda", "cuda_cpp") and "float32" in k.dtypes):
        if rung.available():
            with recorded() as ways[rung.id]:
                np.testing.assert_allclose(rung(a, b), a @ b, rtol=1e-3, atol=1e-3)
    for name, launches in ways.items():
        seconds, _ = min(clock.sample(launches) for _ in range(3))
        assert 2 * 512**3 / 1e15 < seconds < 0.1, name
    np.testing.assert_allclose(torch.mm(*on_gpu).cpu(), a @ b, rtol=1e-3, atol=1e-3)


def test_a_numpy_that_numba_cuda_does_not_know_is_named_with_the_fix(monkeypatch):
    pytest.importorskip("numba_cuda")
    monkeypatch.setattr("loopnest.backends.cuda.cuda", SimpleNamespace(is_available=lambda: True))
    assert backends._cuda_missing.__wrapped__() is None
    monkeypatch.setitem(sys.modules, "numba.cuda.np.arrayobj", None)
    reason = backends._cuda_missing.__wrapped__()
    assert reason.startswith(f"numba-cuda does not work with NumPy {np.__version__} (")
    assert reason.endswith("): pip install 'numpy<2.5'")


def test_a_test_for_a_gpu_is_skipped_in_a_simulation_and_on_a_fake_driver(monkeypatch):
    monkeypatch.setenv("LOOPNEST_CUDA_CPP", "simulated")
    assert why_no_true_device() == "needs a GPU, and LOOPNEST_CUDA_CPP asks for a simulation"
    monkeypatch.delenv("LOOPNEST_CUDA_CPP")
    before = why_no_true_device()
    monkeypatch.setattr("loopnest.backends.cuda_device.why_no_device", lambda: None)
    assert why_no_true_device() == before
