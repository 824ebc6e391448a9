"""JAX arrays as operands: jax_arrays.py in a process of its own, since JAX starts threads that no fork survives."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed: pip install 'loopnest[peers]'"
)
def test_every_operation_takes_jax_arrays_and_gives_them():
    tests = Path(__file__).with_name("jax_arrays.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", tests],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    counted = re.search(r"^(\d+) passed", run.stdout, re.MULTILINE)  # and none failed
    assert run.returncode == 0, run.stdout + run.stderr
    assert counted, run.stdout
    assert int(counted[1]) >= 80, run.stdout


def test_calls_with_numpy_arrays_do_not_import_jax():
    program = """
import sys, numpy as np, loopnest as ln
a = np.ones((2, 2))
ln.matmul(a, a, impl="numpy")
try:
    ln.matmul(a, None)
except TypeError:
    print("jax" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
