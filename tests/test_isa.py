"""The C++ rungs once per ISA level: each level that this CPU has is forced, and held to the contracts.

tests/test_contract.py does it for the level that is in force.
"""

import os
import platform
import subprocess
import sys

import loopnest as ln
import numpy as np
import pytest
from ladders import dtypes, rungs
from loopnest import verify as judge_by
from loopnest.verify import verify


@pytest.fixture(params=[level for level in ln.isa_levels() if level != ln.isa()])
def level(request):
    """An ISA level, in force while the test runs."""
    usual = ln.isa()
    ln.set_isa(request.param)
    yield request.param
    ln.set_isa(usual)


@rungs(of=("cpp",))
@dtypes
def test_every_cpp_rung_on_every_other_level(implementation, dtype, level):
    assert ln.isa() == level
    findings = verify(implementation, [dtype], [judge_by.size_cases, judge_by.special_cases])
    assert not findings, "\n".join(findings)


@pytest.mark.skipif(not {"v1", "v3"} <= set(ln.isa_levels()), reason="this CPU has no two levels that round unlike")
def test_the_forced_level_is_the_one_that_runs():
    """v1 rounds a product and then a sum, v3 fuses them: so in long sums a few last bits differ."""
    a, b = np.random.default_rng(5).standard_normal((2, 64, 64))
    usual, results = ln.isa(), {}
    try:
        for level in ("v1", "v3", "v1"):
            ln.set_isa(level)
            result = ln.matmul(a, b, impl="cpp.packed")
            assert np.array_equal(results.setdefault(level, result), result)
    finally:
        ln.set_isa(usual)
    assert not np.array_equal(results["v1"], results["v3"])


def test_the_oldest_level_is_the_one_that_every_processor_of_this_kind_has():
    oldest = {"x86_64": "v1", "aarch64": "neon", "arm64": "neon"}
    assert ln.isa_levels()[0] == oldest.get(platform.machine(), "native")


def test_an_unknown_level_is_refused_and_changes_nothing():
    usual = ln.isa()
    with pytest.raises(ValueError, match="isa is 'v9', expected one of .*" + usual):
        ln.set_isa("v9")
    assert ln.isa() == usual


def in_a_process_with(isa):
    environment = {**os.environ, "LOOPNEST_ISA": isa}
    program = [sys.executable, "-c", "import loopnest; print(loopnest.isa())"]
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("isa", ln.isa_levels())
def test_the_environment_variable_forces_a_level(isa):
    assert in_a_process_with(isa).stdout.strip() == isa


def test_an_unknown_level_in_the_environment_is_told_at_import():
    assert "LOOPNEST_ISA: isa is 'v9', expected one of" in in_a_process_with("v9").stderr
