"""Reduced precision: every rung that takes bfloat16, float16 or int8 holds the contract, with all kinds of inputs."""

import itertools

import loopnest as ln
import ml_dtypes
import numpy as np
import pytest
from ladders import OPERATIONS
from loopnest import verify as judge_by
from loopnest.arrays import REDUCED, dtype_called
from loopnest.verify import Case, judge, verify

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def skip_unless_here(k):
    return pytest.mark.skipif(not k.available(), reason=str(k.why_unavailable()))


PAIRS = [
    pytest.param(k, dtype, id=f"{k.id}-{dtype}", marks=skip_unless_here(k))
    for dtype in REDUCED
    for k in ln.matmul.ladder(dtype)
]


def each_rung(*dtypes):
    """Run a test with each rung and each of these dtypes that it takes."""
    return pytest.mark.parametrize(("rung", "dtype"), [pair for pair in PAIRS if pair.values[1] in dtypes])


@each_rung(*REDUCED)
@pytest.mark.parametrize("cases", ["size_cases", "layout_cases", "special_cases"])
def test_rungs_hold_the_contract_in_reduced_precision(rung, dtype, cases):
    findings = verify(rung, [dtype_called(dtype)], [getattr(judge_by, cases)])
    assert not findings, "\n".join(findings)


@pytest.mark.slow
@each_rung(*REDUCED)
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
    assert {k.backend for k in ln.matmul.ladder("bfloat16")} >= {"python", "numpy", "numba", "cpp", "torch"}
    assert not {k.id for k in ln.matmul.ladder("int8")} & {k.id for k in ln.matmul}
    assert all(op.ladder("bfloat16") == [] for op in OPERATIONS.values() if not op.contract.reduced)
    assert ln.matmul.rung("cpp", "float16").id == "cpp.upcast"
