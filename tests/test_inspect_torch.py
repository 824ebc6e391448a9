"""Looking into torch's rungs: what Inductor wrote."""

import importlib.util
import os
import re

import loopnest as ln
import pytest
from loopnest.inspect import InspectError, inspect

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="there is no C++ in it")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def needs_compiler():
    if reason := ln.gelu["torch.compiled"].why_unavailable():
        pytest.skip(reason)


def listings(operation, impl, aspect):
    return inspect(ln.OPERATIONS[operation][impl], aspect, measure=False).listings


@needs_torch
def test_an_eager_rung_has_its_source_alone():
    (source,) = listings("matmul", "torch.eager", "source")
    assert "torch.mm(a, b, out=c)" in source.text
    with pytest.raises(InspectError, match=r"torch\.eager has no hot to show, but source"):
        listings("matmul", "torch.eager", "hot")


@needs_torch
def test_a_compiled_product_is_inductors_call_of_the_same_routine():
    needs_compiler()
    from loopnest.backends import torch as tensors

    before = dict(tensors._compiled)
    source, wrapper = listings("matmul", "torch.compiled", "source")
    assert "run_compiled(_product" in source.text
    assert "def call(self, args):" in wrapper.text
    assert "extern_kernels.mm(" in wrapper.text
    assert "import torch" not in wrapper.text
    assert before.items() <= tensors._compiled.items(), "what was translated before is still there"


@needs_torch
def test_a_compiled_chain_is_one_loop_of_inductors():
    needs_compiler()
    _, code = listings("gelu", "torch.compiled", "source")
    assert ".exp()" in code.text
    (name,) = re.findall(r"^(\w+) = async_compile\.cpp_pybinding\(", code.text, re.MULTILINE)
    assert code.text.count(f"{name}(") == 1
