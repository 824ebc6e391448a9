"""Every implementation is held to its operation's contract: see loopnest/verify/__init__.py for what the cases are."""

import pytest
from ladders import dtypes, rungs
from loopnest import verify as judge_by
from loopnest.verify import verify


def check(implementation, dtype, cases):
    findings = verify(implementation, [dtype], [cases])
    assert not findings, "\n".join(findings)


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


@pytest.mark.slow
@rungs()
@dtypes
def test_large_sizes(implementation, dtype):
    check(implementation, dtype, judge_by.large_cases)
