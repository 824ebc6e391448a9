"""matmul beyond what the contract's cases hold: batches, exact sums, and NaN and infinity at every place."""

import os
import subprocess
import sys

import loopnest as ln
import numpy as np
import pytest
from ladders import dtypes, rungs
from loopnest import _core
from loopnest.operation import Arguments
from loopnest.verify import judge_call

RNG = np.random.default_rng(2)


@rungs("matmul")
@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((3, 4, 5), (3, 5, 6)),
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((1, 4, 5), (7, 5, 6)),
        ((0, 4, 5), (5, 6)),
        ((2, 3, 4, 0), (2, 3, 0, 6)),
    ],
)
def test_leading_axes_broadcast(implementation, a_shape, b_shape):
    a, b = RNG.standard_normal(a_shape), RNG.standard_normal(b_shape)
    for layout in ("in C order", "in Fortran order", "stepped"):
        assert judge_call(implementation, Arguments((a, b)), (layout,)) == []


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((40, 64, 64), (40, 64, 48)),  # shared by whole products
        ((2, 150, 130), (2, 130, 140)),  # too few for three threads: each is cut
        ((50, 33, 70), (70, 90)),  # one b for all: one tall product
        ((50, 33, 70), (1, 70, 90)),
        ((4, 9, 33, 70), (9, 70, 60)),  # two axes that are no single one: stacks along the last
        ((33, 70), (30, 70, 40)),  # one a for all
    ],
)
def test_stacks_on_several_threads(threads, a_shape, b_shape):
    usual = ln.num_threads()
    ln.set_num_threads(threads)
    try:
        a, b = (RNG.standard_normal(shape).astype(np.float32) for shape in (a_shape, b_shape))
        for layout in ("in C order", "in Fortran order", "stepped"):
            assert judge_call(ln.matmul["cpp.parallel"], Arguments((a, b)), (layout,)) == []
    finally:
        ln.set_num_threads(usual)


def test_why_says_how_a_product_is_computed():
    usual = ln.num_threads()
    ln.set_num_threads(2)

    def why(m, k, n, order="CC"):
        return ln.matmul.why(np.ones((m, k), np.float32, order[0]), np.ones((k, n), np.float32, order[1]))

    try:
        assert why(1, 64, 640) == "in one piece; a has few rows: b is read once, row by row"
        assert why(1, 6400, 5) == "in one piece; a has few rows, b few columns: the sums fit the registers"
        dots = "few rows or columns: each element is a dot product"
        assert why(7, 100, 5, "CF") == f"in one piece; {dots}"
        assert why(200, 200, 3) == f"in one piece, as cᵀ = bᵀaᵀ; {dots}"
        assert why(90, 300, 5, "FC").startswith("in one piece, as cᵀ = bᵀaᵀ; a has few rows")
        assert (
            why(60, 20, 30, "CF") == "in one piece, with a transposed copy of b; b spans a small part of the L2 cache"
        )
        assert why(16, 300, 100, "CF").startswith("in one piece, as cᵀ = bᵀaᵀ, with a transposed copy of aᵀ; ")
        assert why(5, 6, 7) == why(5, 6, 7, "FF") == "in one piece; a small product: nothing is copied"
        assert why(50, 3, 200) == "in one piece; sums of at most four products: c is written row by row"
        assert why(60, 20, 300) == "in one piece; short sums: c is written along bands of rows"
        assert why(50, 50, 50) == "in one piece; b spans a small part of the L2 cache"
        assert "pieces; b is packed by the first tile" in why(2000, 2000, 2000)
        assert why(64, 40_000, 64).startswith("sums in 2 parts; ")
        assert ln.matmul.why(*(np.ones(s, np.float32) for s in ((9, 50, 50), (50, 50)))) == why(50, 50, 50)
    finally:
        ln.set_num_threads(usual)


KEPT_CHOICE = """
import numpy as np, loopnest as ln

ln.set_num_threads(1)
print(ln.matmul.why(np.ones((16, 700), np.float32), np.ones((700, 1500), np.float32)))
"""


@pytest.mark.skipif(_core.isa() not in ("v4", "neon"), reason="with 16 registers low products are always packed")
def test_a_choice_that_was_measured_is_kept_and_read_again(tmp_path):
    def why(**surroundings):
        environment = {name: text for name, text in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
        environment |= {"LOOPNEST_CACHES": "32K:8,1M:8,32M:16"} | surroundings
        return subprocess.run(
            [sys.executable, "-c", KEPT_CHOICE], env=environment, capture_output=True, text=True, check=True
        ).stdout

    in_place = "in one piece; a has few rows, so that packing b would not pay\n"
    assert why() == in_place  # no folder, no measurement: the guess
    assert why(XDG_CACHE_HOME="/proc/none") == in_place
    measured = why(XDG_CACHE_HOME=str(tmp_path))
    (file,) = (tmp_path / "loopnest").glob("choices-*.txt")
    answer = file.read_text()
    assert answer == f"low_rows_in_place {int(measured == in_place)}\n"
    file.write_text("damaged\n" + answer + "low_rows_in_place 0\n")
    assert "packed" not in in_place
    assert why(XDG_CACHE_HOME=str(tmp_path)) == "in one piece; b is packed by the first tile that reads it\n"


OTHER_MACHINES = {"Emerald Rapids": "48K:12,2M:16,260M:20", "small caches": "4K:4,16K:4,64K:8"}
ON_ANOTHER_MACHINE = """
import loopnest as ln, numpy as np
from loopnest import _core
from loopnest.operation import Arguments
from loopnest.verify import judge_call

print(*_core.cache_sizes())
rng = np.random.default_rng(5)
shapes = [(5, 900, 70), (33, 40, 500), (70, 2100, 65)]
shapes += [(150, 300, 130), (400, 7, 300), (64, 64, 16), (9, 600, 9), (2, 900, 7), (20, 800, 3)]
for threads in (1, 2):
    ln.set_num_threads(threads)
    for m, k, n in shapes:
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
        for layout in ("in C order", "in Fortran order"):
            for k_ in ("cpp.packed", "cpp.prefetched", "cpp.parallel"):
                assert judge_call(ln.matmul[k_], Arguments((a, b)), (layout,)) == [], (m, k, n, layout, k_)
"""


@pytest.mark.parametrize("machine", OTHER_MACHINES)
def test_the_paths_of_another_machines_caches(machine):
    caches = OTHER_MACHINES[machine]
    command = [sys.executable, "-c", ON_ANOTHER_MACHINE]
    run = subprocess.run(command, env=os.environ | {"LOOPNEST_CACHES": caches}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    units = {"K": 1 << 10, "M": 1 << 20}
    expected = [int(level[: level.index(":") - 1]) * units[level[level.index(":") - 1]] for level in caches.split(",")]
    assert [int(size) for size in run.stdout.split()] == expected


def test_why_is_asked_of_matmul_alone():
    with pytest.raises(TypeError, match="gelu is computed in one way"):
        ln.gelu.why(np.ones(3))
    with pytest.raises(ValueError, match="b has shape"):
        ln.matmul.why(np.ones((3, 4)), np.ones((3, 4)))


@rungs("matmul")
@dtypes
def test_products_of_small_integers_are_exact(implementation, dtype):
    a, b = RNG.integers(-9, 10, (37, 41)), RNG.integers(-9, 10, (41, 23))
    np.testing.assert_array_equal(implementation(a.astype(dtype), b.astype(dtype)), a @ b)


@rungs("matmul")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_zero_row_and_column_keep_nan_and_infinity(implementation, value):
    """0 · inf and 0 · NaN are NaN: a kernel that skips zero factors, or multiplies padding, shows here."""
    m, k, n = 13, 18, 9
    for i, j in ((0, 0), (6, 11), (12, 17)):
        a, b = RNG.standard_normal((m, k)), RNG.standard_normal((k, n))
        a[i, j] = value
        b[j, ::2] = 0
        with np.errstate(invalid="ignore"):
            c = implementation(a, b)
        assert np.isnan(c[i, ::2]).all()
        assert not np.isfinite(c[i, 1::2]).any()
        assert np.isfinite(np.delete(c, i, axis=0)).all()


ELEMENTS_BEYOND_CACHES = ln._core.cache_sizes()[2] // 4 + 100_000


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [
        (1, 3, ELEMENTS_BEYOND_CACHES // 3),  # the rows of b stream past
        (4, 2, ELEMENTS_BEYOND_CACHES // 2),
        (ELEMENTS_BEYOND_CACHES // 1009, 3, 1009),  # c is stored past the caches, each row from another place in a line
        (ELEMENTS_BEYOND_CACHES // 7, 7, 3),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_outgrows_the_caches(m, k, n, threads):
    usual, product = ln.num_threads(), ln.matmul["cpp.parallel"]
    ln.set_num_threads(threads)
    a, b = (RNG.integers(-9, 10, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    exact = sum(np.multiply.outer(a[:, p], b[p]) for p in range(k))
    try:
        assert np.array_equal(product(a, b), exact)
        assert np.array_equal(product(a, np.asfortranarray(b)), exact)
        assert np.array_equal(product(np.asfortranarray(a), b), exact)
    finally:
        ln.set_num_threads(usual)


def test_out_is_filled_and_handed_back():
    a, b, c = np.ones((2, 3)), np.ones((3, 4)), np.full((2, 4), np.nan)
    assert ln.matmul(a, b, out=c) is c
    np.testing.assert_array_equal(c, 3)
