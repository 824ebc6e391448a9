"""Looking into Numba's rungs: the hot loop of the machine code, and source lines."""

import functools
import json
import os
import platform
import re

import loopnest as ln
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.cli import main
from loopnest.inspect import InspectError, inspect
from loopnest.inspect.elf import ObjectFile, why_not_here
from loopnest.inspect.source import source_lines

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="there is no C++ in it")
_missing = why_not_here() or ("" if platform.machine() == "x86_64" else "machine code is read for x86-64 alone")
needs_capstone = pytest.mark.skipif(bool(_missing), reason=str(_missing))


@functools.cache
def listings(operation, impl, aspect, dtype="float32", **options):
    return inspect(ln.OPERATIONS[operation][impl], aspect, dtype=dtype, measure=False, **options).listings


def text_of(source):
    return source_lines(source[0])[source[1] - 1].strip()


@needs_capstone
def test_the_register_tiles_loop_is_12_multiply_adds_and_7_loads_in_vectors():
    (hot,) = listings("matmul", "numba.register_tiled", "hot")
    loop = hot.loop
    turns = loop.counts["fma"] // 12  # the compiler may do several steps of p in a turn
    assert loop.counts["fma"] == 12 * turns > 0
    assert loop.counts["loads"] == 7 * turns
    assert (loop.counts["stores"], loop.counts["spills"]) == (0, 0)
    assert loop.vector_bits >= 256
    assert loop.flops == 2 * 12 * turns * loop.vector_bits // 32
    assert loop.bytes == 7 * turns * loop.vector_bits // 8
    assert loop.accumulators == 12
    lines = {text_of(line.source) for line in hot.lines if line.kind == "fma"}
    assert lines == {f"c{i}{j} += a{i}[p] * b{j}[p]" for i in range(4) for j in range(3)}


@needs_capstone
def test_the_naive_loop_is_scalar_and_waits_for_its_one_sum():
    (hot,) = listings("matmul", "numba.naive", "hot")
    assert hot.loop.scalar
    assert hot.loop.accumulators == 1
    assert hot.loop.flops == 2 * hot.loop.counts["fma"] > 0
    if hot.loop.bound is not None:
        assert hot.loop.bound.name == "latency"
    assert {text_of(line.source) for line in hot.lines if line.kind == "fma"} == {"c_ij += a[i, p] * b[p, j]"}


@needs_capstone
def test_dtypes_have_lanes_of_their_size():
    (double,) = listings("matmul", "numba.reordered", "hot", "float64")
    assert double.loop.itemsize == 8
    assert all(one.lanes == one.vector_bits // 64 for one in double.loop.instructions if one.kind == "fma")


@needs_capstone
@pytest.mark.slow
def test_a_call_in_the_loop_is_counted_and_a_polynomial_has_none():
    (scalar,) = listings("gelu", "numba.scalar", "hot")
    assert scalar.loop.counts["call"] > 0
    assert any(note.startswith("It calls functions in every iteration") for note in scalar.notes), scalar.notes
    (polynomial,) = listings("gelu", "numba.polynomial", "asm")
    assert "call" not in polynomial.loop.counts
    assert polynomial.loop.vector_bits >= 256
    assert 0 < sum(line.hot for line in polynomial.lines) < len(polynomial.lines)


def test_llvm_ir_is_the_kernels_function():
    (ir,) = listings("matmul", "numba.reordered", "llvm")
    assert ir.lines[0].text.startswith("define ")
    assert ir.lines[-1].text == "}"
    assert any("fmul" in line.text and " x float>" in line.text for line in ir.lines)
    assert not any("dbg" in line.text for line in ir.lines)


def test_every_kernel_that_a_rung_calls_is_found_and_the_rung_is_left_as_it_was():
    from loopnest.backends.numba import CompiledKernel
    from loopnest.inspect.in_numba import kernels_of

    call = CompiledKernel.__call__
    names = [called.function.__name__ for called in kernels_of(ln.mlp_forward["numba.fused"])]
    assert CompiledKernel.__call__ is call
    assert "register_tiled" in names
    assert len(set(names)) == len(names) >= 2
    a, b = np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    np.testing.assert_array_equal(ln.matmul(a, b, impl="numba.naive"), b)


RUNGS = [
    pytest.param(k, id=f"{operation.name}-{k.id}")
    for operation in ln.OPERATIONS.values()
    for k in operation
    if k.backend == "numba" and k.variant != "ufunc"
]


@pytest.mark.parametrize("k", RUNGS)
def test_every_rungs_kernels_are_found(k):
    from loopnest.inspect.in_numba import kernels_of

    for called in kernels_of(k, "float64", k.operation.contract.workloads[0].name):
        assert callable(called.function)
        assert any("float64" in str(kind) for kind in called.signature)


def test_which_kernel_runs_depends_on_the_workload():
    from loopnest.inspect.in_numba import kernels_of

    few_rows = next(w.name for w in ln.matmul.contract.workloads if w.shape["m"] == 1)
    (called,) = kernels_of(ln.matmul["numba.parallel"], workload=few_rows)
    assert called.function.__name__ == "_stream_rows_of_b"


def test_bad_input_is_refused():
    with pytest.raises(InspectError, match=r"no workload is called 'huge'\. Known: square-16"):
        listings("matmul", "numba.naive", "hot", workload="huge")
    with pytest.raises(InspectError, match=r"numba\.naive has no ptx to show, but hot, asm, llvm, source"):
        listings("matmul", "numba.naive", "ptx")
    with pytest.raises(InspectError, match=r"isa is 'v3', and only C\+\+ rungs have ISA levels; numba\.naive is none"):
        listings("matmul", "numba.naive", "hot", isa="v3")
    with pytest.raises(InspectError, match=r"numba\.ufunc calls no kernel that is declared with"):
        listings("gelu", "numba.ufunc", "hot")


@needs_capstone
@pytest.mark.slow
def test_debugging_information_changes_no_instruction(tmp_path):
    from loopnest.inspect.in_numba import kernels_of
    from numba import njit

    (called,) = kernels_of(ln.matmul["numba.register_tiled"])
    plain = njit(**called.options)(called.function)
    plain.compile(called.signature)
    library = plain.overloads[called.signature].library
    library._ensure_finalized()
    (tmp_path / "plain.o").write_bytes(library._codegen._tm.emit_object(library._final_module))
    file = ObjectFile(tmp_path / "plain.o")
    code = file.code(file.function(plain.overloads[called.signature].fndesc.llvm_func_name))
    (whole,) = listings("matmul", "numba.register_tiled", "asm")
    assert [one.mnemonic for one in code] == [line.text.split()[0] for line in whole.lines]


@needs_capstone
def test_the_command_prints_and_gives_the_records():
    command = ["inspect", "matmul", "numba.naive", "--no-measure"]
    plain = CliRunner().invoke(main, [*command, "--asm"], catch_exceptions=False)
    assert plain.exit_code == 0, plain.output
    assert re.search(r" in_numba\.py:\d+", plain.output)
    data = json.loads(CliRunner().invoke(main, [*command, "--hot", "--json"], catch_exceptions=False).output)
    assert data["listings"][0]["loop"]["accumulators"] == 1
