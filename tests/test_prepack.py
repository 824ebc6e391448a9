"""ln.prepack: a packed matrix is accepted wherever the matrix is, holds the same contract, and gives itself back."""

import pickle

import loopnest as ln
import numpy as np
import pytest
from loopnest import _core
from loopnest.arrays import FLOAT_NAMES, REDUCED, dtype_called
from loopnest.backends.prepacked import variants_for

EVERY = [(dtype, variant) for dtype in (*FLOAT_NAMES, *REDUCED) for variant in variants_for(dtype)]
SHAPES = [(1, 1, 1), (5, 7, 130), (70, 65, 63), (3, 0, 5), (0, 3, 5), (5, 3, 0), (13, 1100, 67), (1, 300, 1000)]


def made(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "int8":
        return rng.integers(-128, 128, shape, np.int8)
    return rng.standard_normal(shape).astype(dtype_called(dtype))


@pytest.fixture
def levels():
    usual = ln.isa()
    yield ln.isa_levels()
    ln.set_isa(usual)


@pytest.mark.parametrize(("dtype", "variant"), EVERY)
def test_products_with_a_packed_matrix_hold_the_contract(dtype, variant, levels):
    """On every ISA level, with a transposed and a strided b, in both dtypes of the result."""
    for isa in levels:
        ln.set_isa(isa)
        if not (rung := ln.matmul[f"cpp.{variant}"]).available():
            continue
        for m, k, n in SHAPES:
            a, b = made((m, k), dtype), made((n, 2 * k), dtype, 1)[:, ::2].T
            packed = ln.prepack(b, impl=rung.id)
            assert (packed.shape, packed.dtype, packed.rung) == (b.shape, b.dtype, rung.id)
            assert packed.unpack().tobytes() == b.tobytes()
            reduced = () if dtype in FLOAT_NAMES else ln.matmul.contract.reduced_variations.values()
            sample = ln.operation.Arguments((a, b))
            for options in ({}, *(variation(sample).options for variation in reduced)):
                exact, bound = (f(a, b, **options)[0] for f in (ln.matmul.contract.reference, ln.matmul.contract.bound))
                c = ln.matmul(a, packed, **options)
                assert c.dtype == ln.matmul.contract.result_dtype(a.dtype, **options)
                assert (np.abs(c.astype(exact.dtype) - exact) <= bound).all()


def test_not_a_number_and_infinity_are_unpacked_bit_for_bit_and_stay_in_their_column():
    for dtype, variant in EVERY:
        if dtype == "int8" or not ln.matmul[f"cpp.{variant}"].available():
            continue
        b = np.ones((33, 70), dtype_called(dtype))
        b[4, 3], b[5, 66], b[6, 2] = np.nan, np.inf, -0.0
        packed = ln.prepack(b, impl=f"cpp.{variant}")
        assert packed.unpack().tobytes() == b.tobytes()
        c = ln.matmul(np.ones((7, 33), b.dtype), packed)
        assert np.isnan(c).sum() == 7
        assert np.isnan(c[:, 3]).all()
        assert np.isinf(c[:, 66]).all()


@pytest.mark.parametrize("dtype", [*FLOAT_NAMES, *REDUCED])
def test_stacks_share_a_packed_matrix(dtype):
    a, b = made((4, 3, 5, 20), dtype), made((20, 9), dtype, 1)
    packed, whole = ln.prepack(b), ln.matmul(a, np.broadcast_to(b, (4, 3, 20, 9)))
    for x, expected in ((a, whole), (a.transpose(1, 0, 2, 3), whole.transpose(1, 0, 2, 3)), (a[::2, :, ::-1], None)):
        expected = whole[::2, :, ::-1] if expected is None else expected
        np.testing.assert_allclose(ln.matmul(x, packed).astype(float), expected.astype(float), rtol=2e-2, atol=1e-2)
    out = np.empty((5, 9), whole.dtype)
    assert ln.matmul(a[0, 0], packed, out=out) is out


@pytest.mark.parametrize("dtype", FLOAT_NAMES)
def test_linear_takes_a_packed_matrix(dtype):
    x, w, b = made((6, 20), dtype), made((20, 70), dtype, 1), made((70,), dtype, 2)
    (exact,), (bound,) = ln.linear.contract.reference(x, w, b), ln.linear.contract.bound(x, w, b)
    assert (np.abs(ln.linear(x, ln.prepack(w), b) - exact) <= bound).all()


def test_why_says_prepacked():
    packed = ln.prepack(np.ones((3, 4), np.float16))
    assert ln.matmul.why(np.ones((2, 3), np.float16), packed).startswith(
        "cpp.upcast, for which b is prepacked, in panels of"
    )


def test_a_pickled_one_works_here_and_says_why_not_elsewhere(levels, monkeypatch):
    a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    packed = pickle.loads(pickle.dumps(ln.prepack(b)))
    np.testing.assert_array_equal(ln.matmul(a, packed), ln.matmul(a, b))
    if len(levels) > 1:
        ln.set_isa(levels[0])
        with pytest.raises(ValueError, match=r"packed on ISA level .* expected \d+ columns for .*ln.prepack\(b.unpack"):
            ln.matmul(a, packed)
        np.testing.assert_array_equal(packed.unpack(), b)
    half = ln.prepack(b.astype(np.float16))
    monkeypatch.setattr(ln.matmul["cpp.upcast"], "requires", lambda: "this CPU lacks it")
    with pytest.raises(ln.UnavailableError, match=r"cpp.upcast cannot run here: this CPU lacks it"):
        ln.matmul(a.astype(np.float16), half)


def test_messages_name_what_was_packed_and_what_can_read_it():
    w = ln.prepack(np.ones((3, 4)))
    x = np.ones((2, 3))
    for error, call, message in [
        (TypeError, lambda: ln.matmul(x.astype("f"), w), "a has dtype float32, expected float64 to match the packed"),
        (
            ValueError,
            lambda: ln.matmul(x.T, w),
            r"a has shape \(3, 2\), expected \(…, m, 3\) to match",
        ),
        (TypeError, lambda: ln.matmul(x, w, impl="numpy.matmul"), "packed for cpp.parallel, which numpy.matmul cannot"),
        (
            TypeError,
            lambda: ln.matmul["cpp.naive"](x, w),
            "cpp.naive cannot read, expected cpp.parallel; leave",
        ),
        (TypeError, lambda: ln.gelu(w), "x is a loopnest.Prepacked, expected a NumPy array"),
        (ValueError, lambda: ln.linear(x, w, np.ones(5)), r"b has shape \(5,\) .* expected shape \(4,\)"),
        (ValueError, lambda: ln.prepack(x[0]), r"b has shape \(3,\), expected two axes"),
        (ValueError, lambda: ln.prepack(x, impl="cpp.naive"), "'cpp.naive', expected one of cpp.parallel, which read"),
    ]:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_the_torch_mlp_packs_its_weights_once_and_again_after_a_change(dtype):
    torch = pytest.importorskip("torch")
    import loopnest.torch

    torch.manual_seed(0)
    mlp = loopnest.torch.MLP(24, 96, prepack=True, dtype=getattr(torch, dtype), bias=dtype != "float64")
    stack, x = torch.nn.Sequential(*mlp), torch.randn(2, 5, 24).to(getattr(torch, dtype))
    tolerance = {"float32": 1e-6, "float64": 1e-14, "bfloat16": 2e-2, "float16": 2e-3}[dtype]
    if dtype in FLOAT_NAMES:
        assert mlp(x).requires_grad
        assert mlp._packed == {}  # training packs nothing
    with torch.no_grad():
        torch.testing.assert_close(mlp(x), stack(x), rtol=tolerance, atol=tolerance)
        (first, second) = (packed for _, packed in mlp._packed.values())
        mlp(x)
        assert mlp._packed["0"][1] is first
        mlp[0].weight.mul_(2)
        torch.testing.assert_close(mlp(x), stack(x), rtol=tolerance, atol=tolerance)
        assert mlp._packed["0"][1] is not first
        assert mlp._packed["2"][1] is second
        assert pickle.loads(pickle.dumps(mlp))._packed == {}


def test_the_kernels_of_packed_matrices_are_in_the_table():
    assert {f"{v}_prepacked" for d in REDUCED for v in variants_for(d)} <= set(_core.reduced["matmul"])
