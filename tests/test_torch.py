"""What is special to torch: tensors in and out without a copy, its errors, and its own gradients and optimizers."""

import multiprocessing
import sys
import warnings

import loopnest as ln
import numpy as np
import pytest
from ladders import OPERATIONS, dtypes, rungs
from loopnest import arrays
from loopnest.backends import BACKENDS
from loopnest.lab.verify import Case, compare, exact_and_bound, results_of

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'loopnest[torch]'")

from loopnest import tensors  # noqa: E402

FLOAT64 = np.dtype(np.float64)
STEPS = {name: operation for name, operation in OPERATIONS.items() if name in ("sgd", "momentum", "rmsprop", "adam")}
FUNCTIONS = {name: operation for name, operation in OPERATIONS.items() if name not in STEPS}
BACKWARDS = ("relu_backward", "sigmoid_backward", "tanh_backward", "gelu_backward")

functions = pytest.mark.parametrize("operation", FUNCTIONS.values(), ids=FUNCTIONS)
operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
backends = pytest.mark.parametrize("backend", ["numpy", "cpp", "torch"])


def case_of(operation, dtype=FLOAT64):
    """A small case whose axes are all different."""
    axes = operation.contract.workloads[0].shape
    return Case(operation, dtype, tuple(zip(axes, (7, 5, 6, 4), strict=False)))
