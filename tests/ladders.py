"""The operations and the rungs that tests are parametrised over: what is on a ladder is tested."""

from collections.abc import Iterator

import loopnest as ln
import numpy as np
import pytest
from loopnest.backends import BACKENDS
from loopnest.operation import Implementation, Operation

OPERATIONS = {operation.name: operation for operation in vars(ln).values() if isinstance(operation, Operation)}

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

ELSEWHERE = {"cuda"}  # numba.cuda's simulator is chosen before numba is imported: tests/cuda/ has a process of its own


def implementations(*names: str) -> Iterator[Implementation]:
    """All implementations of the operations with these names, of all operations without names."""
    for name in names or OPERATIONS:
        yield from (k for k in OPERATIONS[name].ladder() if k.backend not in ELSEWHERE)


def rungs(*names: str) -> pytest.MarkDecorator:
    """Run a test with each implementation of these operations; those that cannot run here are skipped, with the reason."""
    return pytest.mark.parametrize(
        "implementation",
        [_parameter(k, f"{k.operation.name}-{k.id}", k.why_unavailable()) for k in implementations(*names)],
    )


def backends() -> pytest.MarkDecorator:
    """Run a test with the name of each backend."""
    return pytest.mark.parametrize(
        "backend",
        [_parameter(name, name, b.why_unavailable()) for name, b in BACKENDS.items() if name not in ELSEWHERE],
    )


dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def _parameter(value: object, id: str, why_unavailable: str | None) -> object:
    marks = pytest.mark.skip(reason=why_unavailable) if why_unavailable else ()
    return pytest.param(value, id=id, marks=marks)
