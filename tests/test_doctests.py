"""The examples in the package's docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import loopnest
import pytest
from ladders import ELSEWHERE, OPERATIONS
from loopnest.backends import BACKENDS

# A contract's examples get their imports when they become the operation's.
LEFT_OUT = {"__main__", "contract"}
CANNOT_BE_IMPORTED = {f"in_{name}" for name, b in BACKENDS.items() if name in ELSEWHERE or b.why_unavailable()}

MODULES = [
    module.name
    for module in pkgutil.walk_packages(loopnest.__path__, "loopnest.")
    if module.name.rpartition(".")[2] not in CANNOT_BE_IMPORTED | LEFT_OUT
]


@pytest.mark.parametrize("name", ["loopnest", *MODULES])
def test_examples_of_module(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_the_examples_of_an_operation(operation):
    examples = doctest.DocTestParser().get_doctest(operation.__doc__, {}, operation.name, None, None)
    result = doctest.DocTestRunner().run(examples)
    assert result.attempted
    assert not result.failed
