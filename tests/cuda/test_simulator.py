"""numba.cuda's rungs without a GPU: in Numba's simulator, in a process of its own."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed: pip install 'loopnest[cuda]'"
)


@pytest.mark.slow
@pytest.mark.parametrize("operations", ["matmul", "mlp_forward", "mlp_backward", "not matmul and not mlp"])
def test_every_cuda_rung_meets_its_contract_in_the_simulator(operations):
    """In four parts, which two processors share."""
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-k", operations]
    command = [sys.executable, "-m", "pytest", *options, Path(__file__).with_name("simulated.py")]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    counted = re.search(r"^(\d+) passed, \d+ deselected in", run.stdout, re.MULTILINE)  # and none failed or skipped
    assert run.returncode == 0, run.stdout + run.stderr
    assert counted, run.stdout
    assert int(counted[1]) >= 25, run.stdout
