"""Looking into torch's rungs: what Inductor wrote."""

import importlib.util
import os
import platform
import re

import loopnest as ln
import pytest
from loopnest.inspect import InspectError, inspect
from loopnest.inspect.elf import why_not_here
from loopnest.inspect.source import source_lines

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="there is no C++ in it")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def needs_compiler():
    if reason := ln.gelu["torch.compiled"].why_unavailable():
        pytest.skip(reason)


def listings(operation, impl, aspect):
    return inspect(ln.OPERATIONS[operation][impl], aspect, measure=False).listings


@needs_torch
def test_what_has_no_loops_of_its_own_says_so():
    (source,) = listings("matmul", "torch.eager", "source")
    assert "torch.mm(a, b, out=c)" in source.text
    with pytest.raises(InspectError, match=r"torch\.eager has no loops of its own: it calls torch's routines"):
        listings("matmul", "torch.eager", "hot")
    needs_compiler()
    with pytest.raises(InspectError, match="it calls torch's routines"):
        listings("matmul", "torch.compiled", "hot")


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
@pytest.mark.skipif(bool(why_not_here()), reason=str(why_not_here()))
@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code is read for x86-64 alone")
def test_a_compiled_chain_is_one_loop_of_inductors():
    """The C++ that Inductor wrote, and the machine code that torch runs of it: no pass but one."""
    needs_compiler()
    k = ln.gelu["torch.compiled"]
    _, code = inspect(k, "source", measure=False).listings
    assert ".exp()" in code.text
    (name,) = re.findall(r"^(\w+) = async_compile\.cpp_pybinding\(", code.text, re.MULTILINE)
    assert code.text.count(f"{name}(") == 1
    (hot,) = inspect(k, "hot", measure=False).listings
    assert hot.loop.vector_bits >= 128
    assert hot.loop.counts["divide"] == 1, "the division of x σ(z)"
    assert hot.loop.counts["call"] == 2, "two exponentials"
    assert hot.title.startswith("the hot loop of Inductor's kernel")
    places = {line.source for line in hot.lines if line.kind == "divide"}
    assert [place[0].endswith(".main.cpp") for place in places] == [True], (
        "the line that Inductor wrote, not a header's"
    )
    (file, number) = places.pop()
    assert " / " in source_lines(file)[number - 1]
