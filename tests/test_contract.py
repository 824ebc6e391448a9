"""Every implementation is held to its operation's contract: see loopnest/lab/verify.py for what the cases are."""

import time

import pytest
from ladders import dtypes, rungs
from loopnest.lab import verify as judge_by
from loopnest.lab.verify import verify


def check(implementation, dtype, cases):
    findings = verify(implementation, [dtype], cases)
    assert not findings, "\n".join(map(str, findings))


@rungs()
@dtypes
def test_sizes_around_lanes_tiles_and_blocks_and_empty_ones(implementation, dtype):
    check(implementation, dtype, judge_by.size_cases)


@rungs()
@dtypes
def test_memory_layouts(implementation, dtype):
    check(implementation, dtype, judge_by.layout_cases)


@rungs()
@dtypes
def test_nan_and_infinity_go_through(implementation, dtype):
    check(implementation, dtype, judge_by.special_cases)


@rungs()
@dtypes
def test_large_sizes(implementation, dtype):
    cases = list(judge_by.large_cases(implementation.operation, dtype))
    probe, large = cases[0], cases[len(cases) // 2]
    check(implementation, dtype, lambda *_: [probe])  # compiles what is compiled at the first call
    start = time.perf_counter()
    check(implementation, dtype, lambda *_: [probe])
    seconds = (time.perf_counter() - start) * large.work() / probe.work()
    if seconds > judge_by.PATIENCE:
        pytest.skip(f"the large sizes would take this rung {seconds:.0f} s")
    check(implementation, dtype, lambda *_: cases)
