"""Looking into torch's rungs: what Inductor wrote, and whose routines the eager ones run."""

import importlib.util
import os
import platform
import re

import loopnest as ln
import pytest
from loopnest.inspect import InspectError, inspect
from loopnest.inspect.elf import why_not_here
from loopnest.inspect.in_torch import read_reports
from loopnest.inspect.source import source_lines

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="there is no C++ in it")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def needs_compiler():
    if reason := ln.gelu["torch.compiled"].why_unavailable():
        pytest.skip(reason)


def listings(operation, impl, aspect):
    return inspect(ln.OPERATIONS[operation][impl], aspect, measure=False).listings


REPORTS = """
MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture, Lnx 2.60GHz lp64
MKL_VERBOSE SGEMM(N,T,256,128,64,0x7f,0x55,256,0x5,64,0x7,0x5,256) 13.01ms CNR:OFF Dyn:1 FastMM:1 TID:0  NThr:1
MKL_VERBOSE SGEMM(N,T,256,128,64,0x7a,0x56,256,0x6,64,0x8,0x6,256) 12.01ms CNR:OFF Dyn:1 FastMM:1 TID:0  NThr:1
onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71)
onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core,undef,src:f32::blocked:ab::f0,,,128x64:64x256,0.5
loopnest: {"operators": [["aten::mm", 3]], "torch": "2.13.0", "libraries": ["MKL"]}
"""


def test_the_libraries_reports_are_read():
    routines, versions = read_reports(REPORTS)
    assert routines == {
        ("MKL", "SGEMM", "N, T, 256, 128, 64, 1 threads"): 2,
        ("oneDNN", "matmul", "brg_matmul:avx512_core, 128x64:64x256"): 1,
        ("ATen", "aten::mm", ""): 3,
    }
    assert versions == {"torch": "2.13.0", "libraries": "MKL"}


@needs_torch
def test_an_eager_product_is_a_librarys_routine_of_the_workloads_sizes():
    source, runs = listings("matmul", "torch.eager", "source")
    assert "torch.mm(a, b, out=c)" in source.text
    assert runs.title == "what torch.eager runs, on square-16, float32"
    assert re.search(r"^ATen +aten::mm +once$", runs.text, re.MULTILINE)
    torch = pytest.importorskip("torch")
    if torch.backends.mkl.is_available():
        assert re.search(r"^(MKL +SGEMM|oneDNN +matmul) +once .*16", runs.text, re.MULTILINE), runs.text
    assert runs.facts["torch"] == torch.__version__


@needs_torch
def test_what_has_no_loops_of_its_own_says_so_and_what_shows_more():
    with pytest.raises(
        InspectError, match=r"torch\.eager has no loops of its own.*inspect matmul torch\.eager --source"
    ):
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
