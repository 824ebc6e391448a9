"""The operations and the rungs that tests are parametrised over: what is on a ladder is tested."""

import dataclasses

import numpy as np
import pytest
from loopnest import OPERATIONS
from loopnest.backends import BACKENDS

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

# In simulators: Numba's is chosen before numba is imported, so tests/cuda/ has a process of its own; that of CUDA C++
# is asked for by tests/cuda_cpp/.
ELSEWHERE = {"cuda", "cuda_cpp"}
HERE = tuple(backend for backend in BACKENDS if backend not in ELSEWHERE)


def rungs(*names: str, of: tuple[str, ...] = HERE) -> pytest.MarkDecorator:
    """Run a test with each implementation of the operations with these names, or of all operations, in some backends
    or in all. What cannot run here is skipped, with the reason. Rungs of torch.compile are slow tests: torch compiles
    some ten seconds for each."""
    ladders = (OPERATIONS[name] for name in names or OPERATIONS)
    chosen = [k for ladder in ladders for k in ladder if k.backend in of]
    return pytest.mark.parametrize(
        "implementation",
        [_parameter(k, f"{k.operation.name}-{k.id}", k.why_unavailable(), slow=k.slow_start) for k in chosen],
    )


def backends() -> pytest.MarkDecorator:
    """Run a test with the name of each backend."""
    return pytest.mark.parametrize(
        "backend",
        [_parameter(name, name, BACKENDS[name].why_unavailable()) for name in HERE],
    )


dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def _parameter(value: object, id: str, why_unavailable: str | None, slow: bool = False) -> object:
    marks = [pytest.mark.skip(reason=why_unavailable)] if why_unavailable else []
    return pytest.param(value, id=id, marks=[*marks, pytest.mark.slow] if slow else marks)


def mapped(values, change, kinds):
    """The values with `change` applied to every array of these kinds among them, those of a cache too."""
    if dataclasses.is_dataclass(values):
        fields = {f.name: mapped(getattr(values, f.name), change, kinds) for f in dataclasses.fields(values)}
        return dataclasses.replace(values, **fields)
    if isinstance(values, list | tuple):
        return type(values)(mapped(value, change, kinds) for value in values)
    return change(values) if isinstance(values, kinds) else values


def leaves(values, kinds):
    """The arrays of these kinds among the values."""
    found = []
    mapped(values, found.append, kinds)
    return found
