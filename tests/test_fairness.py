"""The fairness contract: budgets are set and read back, reduced precision is off, and who breaks it is found out."""

import dataclasses
import sys
import types

import loopnest as ln
import pytest
import threadpoolctl
from loopnest.backends.threads import processors
from loopnest.timing import fairness
from loopnest.timing.environment import ThreadPool
from loopnest.timing.fairness import (
    UnfairError,
    check_cores,
    equal_terms,
    read_back,
)
from loopnest.timing.turns import Reading


def blas_threads():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_the_budget_is_set_and_read_back_from_each_library_and_given_back():
    earlier = ln.num_threads()
    ln.set_num_threads(3)
    try:
        with threadpoolctl.threadpool_limits(2):
            before = blas_threads()
            assert 2 in before
            with equal_terms(1) as terms:
                assert ln.num_threads() == 1
                assert set(blas_threads()) == {1}
                owners = {pool.owner: pool.threads for pool in terms.pools}
                assert owners["loopnest"] == 1
                assert owners["NumPy"] == 1
                assert set(owners.values()) == {1}
            assert ln.num_threads() == 3
            assert blas_threads() == before
    finally:
        ln.set_num_threads(earlier)


def test_torch_gets_the_budget_too(monkeypatch):
    """By stand-ins: what is set on them, and what is set back."""
    log = []

    def library(name, threads):
        now = [threads]
        return types.SimpleNamespace(
            get_num_threads=lambda: now[0],
            set_num_threads=lambda n: (log.append((name, n)), now.__setitem__(0, n)),
        )

    torch = library("torch", 5)
    precision = ["medium"]
    torch.get_float32_matmul_precision = lambda: precision[0]
    torch.set_float32_matmul_precision = lambda p: precision.__setitem__(0, p)
    torch.backends = types.SimpleNamespace(
        mkldnn=types.SimpleNamespace(), cuda=types.SimpleNamespace(), mkl=types.SimpleNamespace(is_available=lambda: 0)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    with equal_terms(1) as terms:
        assert {(p.owner, p.threads) for p in terms.pools} >= {("torch", 1)}
        assert precision == ["highest"]
        assert "torch float32 products: highest (no TF32, no bfloat16)" in terms.precision
    assert log == [("torch", 1), ("torch", 5)]
    assert precision == ["medium"]


def test_reduced_precision_of_the_real_torch_is_switched_off_and_given_back():
    torch = pytest.importorskip("torch")
    earlier = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with equal_terms(1):
            assert fairness._torch_precision(torch) == "highest"
            assert torch.get_num_threads() == 1
        assert fairness._torch_precision(torch) == "medium"
    finally:
        torch.set_float32_matmul_precision(earlier)


def test_a_library_that_keeps_its_reduced_precision_is_no_comparison(monkeypatch):
    nothing = dict.fromkeys(("set_float32_matmul_precision", "set_num_threads"), lambda value: None)
    torch = types.SimpleNamespace(**nothing, get_num_threads=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(fairness, "_torch_precision", lambda torch: "high")
    with pytest.raises(UnfairError, match="torch computes float32 products with 'high' precision"), equal_terms(1):
        pass


@pytest.mark.parametrize("name", fairness.FEWER_BITS)
def test_a_variable_that_takes_bits_away_is_refused_with_the_fix(name, monkeypatch):
    monkeypatch.setenv(name, "BF16" if "FPMATH" in name else "1")
    with pytest.raises(UnfairError, match=f"env -u {name}"), equal_terms(1):
        pass
    monkeypatch.setenv(name, fairness.FEWER_BITS[name][0])
    with equal_terms(1):
        pass


def test_a_library_with_more_threads_than_the_budget_is_found_out_when_it_is_read_back(monkeypatch):
    pools = (ThreadPool("NumPy", 1, "OpenBLAS"), ThreadPool("late", 8, "BLIS"))
    environment = dataclasses.replace(fairness.environment(), pools=pools)
    monkeypatch.setattr(fairness, "environment", lambda: environment)
    with pytest.raises(UnfairError, match=r"late 8 \(BLIS\).*: more threads than the budget of 1"):
        read_back(1)
    assert len(read_back(8)) >= 2


def test_a_budget_beyond_the_processors_is_refused():
    with equal_terms(processors()):
        pass
    for threads in (0, processors() + 1):
        message = f"threads is {threads}, expected 1 to {processors()}"
        with pytest.raises(ValueError, match=message), equal_terms(threads):
            pass


def test_whoever_keeps_more_processors_busy_than_it_has_threads_is_found_out():
    samples = [Reading(1.0, busy, 0) for busy in (1.9, 0.6, 1.95)]
    with pytest.raises(UnfairError, match=r"mine kept 1\.9 processors busy with a budget of 1 thread:.*--threads 2"):
        check_cores("mine", samples, 1)
    check_cores("mine", samples, 2)
    check_cores("mine", [Reading(1.0, 1.05, 0)] * 3, 1)
