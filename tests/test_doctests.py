"""The examples in the package's docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import loopnest
import pytest
from ladders import ELSEWHERE, OPERATIONS
from loopnest.backends import BACKENDS

CANNOT_BE_IMPORTED = {f"in_{name}" for name, b in BACKENDS.items() if name in ELSEWHERE or b.why_unavailable()}

MODULES = [
    module.name
    for module in pkgutil.walk_packages(loopnest.__path__, "loopnest.")
    if module.name.rpartition(".")[2] not in CANNOT_BE_IMPORTED | {"__main__"}
]


@pytest.mark.parametrize("name", ["loopnest", *MODULES])
def test_examples_of_module(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operations_docstring_has_an_example(operation):
    assert doctest.DocTestFinder().find(operation.contract.run)[0].examples
