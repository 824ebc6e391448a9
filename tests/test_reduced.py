"""Reduced precision: every rung that takes bfloat16, float16 or int8 holds the contract, with all kinds of inputs."""

import itertools
import os
import platform
import shutil
import subprocess
import sys
import time
from unittest import mock

import loopnest as ln
import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner
from ladders import OPERATIONS
from loopnest import _core
from loopnest import verify as judge_by
from loopnest.arrays import REDUCED, dtype_called
from loopnest.backends.torch import nan_leaks
from loopnest.cli import main
from loopnest.inspect import InspectError, inspect
from loopnest.operation import Arguments
from loopnest.verify import Case, judge, judge_call, verify

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def skip_unless_here(k):
    reason = k.why_unavailable() or k.flaw()
    return pytest.mark.skipif(reason is not None, reason=str(reason))


SIMULATED = {"LOOPNEST_CUDA_CPP": "simulated"}


@pytest.fixture(autouse=True)
def simulated():
    """CUDA C++ runs on the CPU."""
    with mock.patch.dict(os.environ, SIMULATED):
        yield


@mock.patch.dict(os.environ, SIMULATED)
def pairs(*operations):
    """Each rung of these operations with each dtype that it takes. torch's float16 takes seconds for an MLP."""
    found = []
    for operation, dtype in itertools.product(operations, REDUCED):
        for k in operation.ladder(dtype):
            long = (operation.name, k.id, dtype) == ("mlp_forward", "torch.reduced", "float16")
            marks = [skip_unless_here(k), *([pytest.mark.slow] if long else [])]
            found.append(pytest.param(k, dtype, id=f"{operation.name}-{k.id}-{dtype}", marks=marks))
    return found


OTHERS = tuple(op for op in OPERATIONS.values() if op.contract.reduced and op is not ln.matmul)


def each_rung(*dtypes):
    """Run a test with each rung of matmul and each of these dtypes that it takes."""
    chosen = [pair for pair in pairs(ln.matmul) if pair.values[1] in dtypes]
    return pytest.mark.parametrize(("rung", "dtype"), chosen)


@pytest.mark.parametrize(("rung", "dtype"), pairs(ln.matmul, *OTHERS))
@pytest.mark.parametrize("cases", ["size_cases", "layout_cases", "special_cases"])
def test_rungs_hold_the_contract_in_reduced_precision(rung, dtype, cases):
    findings = verify(rung, [dtype_called(dtype)], [getattr(judge_by, cases)])
    assert not findings, "\n".join(findings)


@pytest.mark.slow
@pytest.mark.parametrize(("rung", "dtype"), pairs(ln.matmul, *OTHERS))
def test_large_sizes(rung, dtype):
    findings = verify(rung, [dtype_called(dtype)], [judge_by.large_cases])
    assert not findings, "\n".join(findings)


@each_rung(*REDUCED)
def test_k_of_every_remainder(rung, dtype):
    """Units of 2 and 4 elements, squares of 16 of them, and what is left of k; contiguous rows and columns."""
    orders = ("in C order", "in Fortran order")
    for k, layouts in itertools.product((*range(1, 10), 30, 31, 33, 66, 127, 130), itertools.product(orders, orders)):
        assert judge(rung, Case(ln.matmul, dtype_called(dtype), (("m", 7), ("k", k), ("n", 19)), layouts)) == []


@pytest.mark.parametrize("k", [33, 50, 70])
@each_rung("bfloat16", "float16")
def test_nan_stays_in_its_row_whatever_k_is(rung, dtype, k):
    a, b = np.ones((9, k), dtype_called(dtype)), np.ones((k, 33), dtype_called(dtype))
    a[3] = np.nan
    c = rung(a, b, out_dtype="float32")
    assert np.isnan(c[3]).all()
    assert np.isnan(c).sum() == 33


IN_BLOCKS = """
import loopnest as ln, numpy as np
from loopnest import _core
from loopnest.arrays import dtype_called
from loopnest.verify import compare_all, exact_and_bound
for dtype in ("bfloat16", "float16"):
    rng, shapes = np.random.default_rng(0), ((4099, 3), (3, 300), (300,), (300, 5), (5,))
    arrays = [(rng.standard_normal(shape) / 2).astype(dtype_called(dtype)) for shape in shapes]
    exact, bound = exact_and_bound(ln.mlp_forward.contract, arrays, {})
    for rung in ln.matmul.ladder(dtype):
        if rung.backend == "cpp" and rung.available():
            made = [np.empty(shape, arrays[0].dtype) for shape in ((4099, 300), (4099, 300), (4099, 5))]
            as_bits = [array.view(np.uint16) if dtype == "bfloat16" else array for array in (*arrays, *made)]
            _core.reduced["mlp_forward"]["blockwise"](*as_bits, True, rung.variant)
            assert compare_all((made[2], *made[:2]), exact, bound, arrays[0].dtype) == [], rung
"""


def test_the_blocks_of_the_mlp_fit_every_product():
    """More rows and columns than a block of sums has where L3 is small, and rungs that another machine would choose."""
    env = {**os.environ, "LOOPNEST_CACHES": "32K:8,64K:8,256K:8"}
    subprocess.run([sys.executable, "-c", IN_BLOCKS], env=env, check=True)


def test_gelu_is_taken_before_z_is_rounded():
    """So h is gelu of the exact z, rounded once: nearer than gelu of a rounded z."""
    x = np.linspace(0.5, 3, 1000).astype(BFLOAT16)[:, None]
    w, zero, b = (np.full(shape, value, BFLOAT16) for shape, value in (((1, 1), 1 / 3), ((1,), 0), ((1,), 0.01)))
    _, cache = ln.mlp_forward(x, w, b, w, zero, impl="cpp.blockwise")
    z = x.astype(np.float32) * w.astype(np.float32) + b.astype(np.float32)
    np.testing.assert_array_equal(cache.z, z.astype(BFLOAT16))
    np.testing.assert_array_equal(cache.h, ln.gelu(z).astype(BFLOAT16))


def test_a_hidden_layer_that_overflows_leaves_its_row_open():
    x, w = np.full((2, 1), [[300], [1]], np.float16), np.full((1, 3), -300, np.float16)
    zero, w2 = np.zeros(3, np.float16), np.ones((3, 2), np.float16)
    for rung in ln.mlp_forward.ladder("float16"):
        if rung.available():
            assert judge_call(rung, Arguments((x, w, zero, w2, zero[:2]))) == []


def test_bytes_with_scales():
    """One scale a row of a and a column of b; one of them alone; torch's shapes; a result that is given."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (5, 7), np.int8), rng.integers(-128, 128, (7, 3), np.int8)
    of_a, of_b = (rng.lognormal(size=n).astype(np.float32) for n in (5, 3))
    sums = ln.matmul(a, b).astype(np.float32)
    out = np.empty((5, 3), np.float32)
    assert ln.matmul(a, b, scale_a=of_a[:, None], scale_b=of_b[None], out=out) is out
    np.testing.assert_array_equal(out, sums * of_a[:, None] * of_b)
    np.testing.assert_array_equal(ln.matmul(a, b, scale_a=of_a), sums * of_a[:, None])
    np.testing.assert_array_equal(ln.matmul(a, b, scale_b=of_b), sums * of_b)
    for fault, error, message in (
        ({"scale_a": of_b}, ValueError, r"scale_a has shape \(3,\), expected \(5,\) or \(5, 1\)"),
        ({"scale_b": of_b.astype(np.float64)}, TypeError, r"scale_b has dtype float64, expected float32"),
        ({"scale_b": of_b, "out_dtype": "int32"}, TypeError, "expected float32 next to scales"),
    ):
        with pytest.raises(error, match=message):
            ln.matmul(a, b, **fault)
    with pytest.raises(TypeError, match="expected a and b of int8 and two axes"):
        ln.matmul(sums, sums.T, scale_a=of_a)


def test_quantize_keeps_half_a_step_and_refuses_what_no_byte_stands_for():
    x = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)
    x[2] = 0
    for axis in (0, 1):
        q, scales = ln.quantize(x, axis=axis)
        assert (np.abs(q).max(axis=axis) == np.where(np.abs(x).max(axis=axis) > 0, 127, 0)).all()
        wide = np.expand_dims(scales, axis)
        assert (np.abs(q * wide - x) <= wide * 0.501).all()
    assert ln.quantize(np.zeros((0, 3)), axis=1)[0].shape == (0, 3)
    x[4, 7] = np.nan
    with pytest.raises(ValueError, match=r"x\[4, 7\] is nan, expected finite numbers"):
        ln.quantize(x, axis=1)
    with pytest.raises(ValueError, match="axis is 2, expected 1 for a scale a row"):
        ln.quantize(x, axis=2)


@each_rung("int8")
def test_long_sums_of_bytes_wrap_as_int32(rung, dtype):
    k = 131_072 + 5
    a, b = np.full((1, k), -128, np.int8), np.full((k, 2), -128, np.int8)
    assert rung(a, b).tolist() == [[k * 128**2 - 2**32] * 2]


def test_subnormal_numbers_of_float16_count():
    a = np.full((4, 8), 2.0**-20, np.float16)
    for rung in ln.matmul.ladder("float16"):
        if rung.available():
            np.testing.assert_array_equal(rung(a, a.T, out_dtype="float32"), 8 * 2.0**-40)


def test_all_numbers_of_16_bits_are_converted_and_rounded_exactly():
    for dtype in (BFLOAT16, np.dtype(np.float16)):
        every = np.arange(1 << 16, dtype=np.uint16).view(dtype)[None, :]
        one = np.ones((1, 1), dtype)
        c = ln.matmul(one, every, impl="cpp.upcast", out_dtype="float32")
        with np.errstate(invalid="ignore"):  # of signalling NaN
            numbers = ~np.isnan(every)
        assert (np.isnan(c) == ~numbers).all()
        np.testing.assert_array_equal(c[numbers], every[numbers].astype(np.float32))
        np.testing.assert_array_equal(ln.matmul(one, every, impl="cpp.upcast")[numbers], every[numbers])


def test_a_result_is_rounded_to_the_nearest_and_to_even():
    rng = np.random.default_rng(1)
    for dtype in (BFLOAT16, np.dtype(np.float16)):
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((40, 3), (3, 50)))
        wide = ln.matmul(a, b, impl="cpp.upcast", out_dtype="float32")
        np.testing.assert_array_equal(ln.matmul(a, b, impl="cpp.upcast"), wide.astype(dtype))


@pytest.mark.parametrize("dtype", REDUCED)
def test_tensors_of_reduced_precision_come_back_as_tensors(dtype):
    torch = pytest.importorskip("torch")
    a, b = torch.ones(3, 5).to(getattr(torch, dtype)), torch.ones(5, 2).to(getattr(torch, dtype))
    c = ln.matmul(a, b.T.contiguous().T)
    assert c.dtype == (torch.int32 if dtype == "int8" else a.dtype)
    assert c.tolist() == [[5.0, 5.0]] * 3
    wide = torch.empty(3, 2, dtype=torch.int32 if dtype == "int8" else torch.float32)
    assert ln.matmul(a, b, out=wide, out_dtype=wide.dtype) is wide


def test_a_product_that_leaks_nan_is_listed_with_that_and_never_picked(monkeypatch):
    torch, theirs = pytest.importorskip("torch"), ln.matmul["torch.reduced"]

    def leaks(a, b):
        c = torch.mm(a, b)
        c[:-1] += 0 * a[1:].sum(1, keepdim=True)
        return c

    assert nan_leaks(leaks, 33)
    assert not nan_leaks(lambda a, b: (a.float() @ b.float()).bfloat16(), 33)
    monkeypatch.setattr(theirs, "flaw", lambda: "a NaN of one row reaches others")
    shown = CliRunner().invoke(main, ["list", "matmul"]).output
    assert "breaks the contract here: a NaN of one row reaches others" in " ".join(shown.split())
    monkeypatch.setattr("loopnest.operation.fastest_first", lambda: iter(["torch", "numpy"]))
    assert ln.matmul.rung("torch", "bfloat16") is theirs  # by its name
    assert ln.matmul.fastest("bfloat16").id == "numpy.upcast"


def test_messages_name_the_dtype_and_the_fix():
    half, one = np.ones((2, 2), BFLOAT16), np.ones((2, 2), np.float32)
    cases = [
        ((half, one), {}, "b has dtype float32, expected bfloat16 to match a; convert one of them, as in b.astype"),
        (
            (half, half),
            {"impl": "cpp.blocked"},
            "expected float32 or float64 for cpp.blocked; for bfloat16 leave impl out",
        ),
        ((one, one), {"impl": "cpp.upcast"}, "expected bfloat16 or float16 or int8 for cpp.upcast"),
        (
            (half, half),
            {"out_dtype": "int8"},
            "out_dtype is 'int8', expected bfloat16 or float32 for inputs of bfloat16",
        ),
        ((one, one), {"out_dtype": "float64"}, "out_dtype is 'float64', expected float32 for inputs of float32"),
        (
            (half, half),
            {"out": one.copy()},
            "out has dtype float32, expected the inputs' bfloat16; make it with np.empty(",
        ),
    ]
    for inputs, options, message in cases:
        with pytest.raises(TypeError) as error:
            ln.matmul(*inputs, **options)
        assert message in str(error.value)
    with pytest.raises(TypeError, match="expected float32 or float64 in"):
        ln.relu(half)


def test_a_ladder_has_the_rungs_of_its_dtype():
    assert {k.backend for k in ln.matmul.ladder("bfloat16")} >= {"python", "numpy", "numba", "cuda_cpp", "cpp", "torch"}
    assert not {k.id for k in ln.matmul.ladder("int8")} & {k.id for k in ln.matmul}
    assert all(op.ladder("bfloat16") == [] for op in OPERATIONS.values() if not op.contract.reduced)
    assert ln.matmul.rung("cpp", "float16").id == "cpp.upcast"


def test_the_rung_that_runs_is_the_one_that_was_fastest(monkeypatch):
    """And right: a rung that is fast and wrong is not picked. A flag is not a speed."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")  # nothing is kept: the times serve this process
    upcast, others = ln.matmul["cpp.upcast"], [k for k in ln.matmul.ladder("int8") if k.backend == "cpp"][1:]
    a, b, right = np.ones((2, 3), np.int8), np.ones((3, 4), np.int8), upcast.kernel
    for k in others:
        monkeypatch.setattr(k, "kernel", lambda a, b, c: (time.sleep(0.01), right(a, b, c)))
        monkeypatch.setattr(k, "requires", lambda: None)
        monkeypatch.setattr(k, "emulated", lambda: False)
    monkeypatch.setattr(ln.matmul, "_timed", {})
    assert ln.matmul.fastest("int8") is upcast
    assert ln.matmul.why(a, b).startswith("cpp.upcast, by times of int8 192 x 192 x 192: upcast ")
    for k in others:
        monkeypatch.setattr(k, "kernel", lambda a, b, c: c.fill(0))
    monkeypatch.setattr(ln.matmul, "_timed", {})
    assert ln.matmul.fastest("int8") is upcast
    monkeypatch.setattr(upcast, "kernel", lambda a, b, c: (time.sleep(0.01), right(a, b, c)))
    monkeypatch.setattr(others[0], "kernel", right)
    monkeypatch.setattr(ln.matmul, "_timed", {})
    assert ln.matmul.fastest("int8") is others[0]


def test_the_choice_is_kept_for_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ln.matmul, "_timed", {})
    rungs = [k for k in ln.matmul.ladder("int8") if k.id in ("cpp.upcast", "cpp.amx_packed")]  # one is slow: emulated
    measured = ln.matmul._times(rungs, "int8")
    (file,) = (tmp_path / "loopnest").glob("choices-*.txt")
    (line,) = file.read_text().splitlines()
    assert line.startswith(f"matmul+{ln.__version__}+int8+{ln.isa()}+cpp.upcast+cpp.amx_packed cpp.upcast=")
    monkeypatch.setattr(ln.matmul, "_timed", {})
    file.write_text(line.rpartition("=")[0] + "=0.5\n")
    assert ln.matmul._times(rungs, "int8")[rungs[1]] == 0.5  # read, and not measured
    for damaged in ("cpp.upcast=fast", "cpp.other=1", "cpp.upcast"):
        monkeypatch.setattr(ln.matmul, "_timed", {})
        file.write_text(line.partition(" ")[0] + f" {damaged}\n")
        assert set(ln.matmul._times(rungs, "int8")) == set(measured)


def test_a_call_does_not_ask_the_processor_again_what_it_has(monkeypatch):
    ln.matmul["cpp.dot_quads"].available()
    monkeypatch.setattr(_core, "further_instructions", lambda: pytest.fail("it takes 50 µs"))
    assert ln.matmul(np.ones((2, 2), np.int8), np.ones((2, 2), np.int8)).tolist() == [[2, 2], [2, 2]]


def test_tiles_are_emulated_where_there_are_none_and_never_picked():
    rungs = [k for k in ln.matmul.ladder("bfloat16") if k.variant.startswith("amx")]
    assert [k.variant for k in rungs] == ["amx_one_tile", "amx_four_tiles", "amx_packed", "amx_parallel"]
    _core.emulate_amx(True)
    try:
        for k in rungs:
            assert k.available()
            assert k.simulated()
            assert "(simulated)" in repr(k)
            assert verify(k, [BFLOAT16, np.dtype(np.int8)], [judge_by.layout_cases]) == []
        assert not ln.matmul.fastest("bfloat16").variant.startswith("amx")
    finally:
        _core.emulate_amx(False)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or "v4" not in ln.isa_levels(), reason="this is about AVX-512's code"
)
def test_inspect_shows_and_counts_the_instructions_of_reduced_precision(monkeypatch):
    view = inspect(ln.matmul["cpp.upcast"], "hot", isa="v4", measure=False)
    assert view.dtype == "bfloat16"
    assert "matmul::Floats<loopnest::bfloat16>" in view.listings[0].title  # a tile's loop, inlined or not
    if shutil.which("objdump"):  # an iteration's flops: 24 or 4 instructions, by products, by two
        for id, name, flops in [
            ("cpp.dot_pairs", "vdpbf16ps", 24 * 32 * 2),
            ("cpp.dot_quads", "vpdpbusd", 24 * 64 * 2),
            ("cpp.amx_packed", "tdpbf16ps", 4 * 16 * 16 * 32 * 2),
        ]:
            loop = inspect(ln.matmul[id], "hot", isa="v4", measure=False).listings[0].loop
            assert (loop.flops, loop.accumulators) == (flops, loop.counts["fma"])
            assert {one.mnemonic for one in loop.instructions if one.kind == "fma"} == {name}
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InspectError, match=r"cpp.dot_pairs: .* objdump, which does, is not there; on Debian: apt-get"):
        inspect(ln.matmul["cpp.dot_pairs"], "hot", isa="v4", measure=False)
    with pytest.raises(InspectError, match=r"dtype is 'float32', expected 'int8' for cpp.dot_quads"):
        inspect(ln.matmul["cpp.dot_quads"], dtype="float32")
