"""Products of matrices in files: right for every layout, in no more memory than the limit, with nothing of the user's
changed when they fail."""

import dataclasses
import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import loopnest as ln
import numpy as np
import pytest
from click.testing import CliRunner
from loopnest.parallel import Blocks, check_product, make_operands, matmul_out_of_core, memory, out_of_core
from loopnest.parallel import out_of_core_commands as commands
from loopnest.parallel.files import open_matrix
from loopnest.parallel.memory import parse_size, resident
from loopnest.parallel.out_of_core import Span, least_traffic, plan

pytestmark = pytest.mark.skipif("LOOPNEST_SANITIZED" in os.environ, reason="the kernels are tested elsewhere")

LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell the resident size")
PLENTY = 4 << 30
ODD = Blocks(rows=7, columns=5, depth=3, strip=2)
ROOT = Path(__file__).parents[1]


def save(folder, name, x):
    np.save(folder / f"{name}.npy", x)
    return folder / f"{name}.npy"


def mapped(folder, name, x, *, before=0, order="C"):
    """A file of this matrix, after so many bytes of something else, as an np.memmap."""
    path = folder / f"{name}.bin"
    path.write_bytes(bytes(before) + x.tobytes(order))
    return np.memmap(path, x.dtype, "r", before, x.shape, order)


def every_other(folder, name, x):
    large = np.full((3 * x.shape[0] + 1, 2 * x.shape[1] + 1), np.nan, x.dtype)
    large[1::3, 1::2] = x
    return mapped(folder, name, large)[1::3, 1::2]


def backwards(folder, name, x):
    return mapped(folder, name, np.ascontiguousarray(x[::-1, ::-1]))[::-1, ::-1]


LAYOUTS = {
    "npy": save,
    "npy in Fortran order": lambda folder, name, x: save(folder, name, np.asfortranarray(x)),
    "a path as text": lambda folder, name, x: str(save(folder, name, x)),
    "np.load's": lambda folder, name, x: np.load(save(folder, name, x), mmap_mode="r"),
    "mapped": mapped,
    "mapped behind other bytes": lambda folder, name, x: mapped(folder, name, x, before=5000 * x.itemsize),
    "mapped in Fortran order": lambda folder, name, x: mapped(folder, name, x, order="F"),
    "a transposed view": lambda folder, name, x: mapped(folder, name, np.ascontiguousarray(x.T)).T,
    "a part": lambda folder, name, x: mapped(folder, name, np.pad(x, ((2, 1), (3, 2)), constant_values=np.nan))[
        2:-1, 3:-2
    ],
    "every other": every_other,
    "every other, transposed": lambda folder, name, x: every_other(folder, name, np.ascontiguousarray(x.T)).T,
    "backwards": backwards,
}


def judged(a, b, c):
    """The largest error over its bound."""
    (exact,), (bound,) = ln.matmul.contract.reference(a, b), ln.matmul.contract.bound(a, b)
    error = abs(c.astype(exact.dtype) - exact)
    assert c.shape == exact.shape
    assert c.dtype == a.dtype
    assert not np.isnan(c).any()
    return float((error / np.maximum(bound, np.finfo(c.dtype).tiny)).max()) if c.size else 0.0


def pair(m, k, n, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def product(folder, a, b, **how):
    """The product of two arrays, by files of them."""
    made = matmul_out_of_core(
        save(folder, "a", a), save(folder, "b", b), folder / "c.npy", **{"memory_limit": PLENTY, **how}
    )
    return made, np.load(folder / "c.npy")


# --- it is the product


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_any_layout_of_both_operands(tmp_path, left, right):
    a, b = pair(17, 11, 13)
    made = matmul_out_of_core(
        LAYOUTS[left](tmp_path, "a", a), LAYOUTS[right](tmp_path, "b", b), tmp_path / "c.npy",
        memory_limit=PLENTY, blocks=ODD,
    )  # fmt: skip
    assert judged(a, b, np.load(tmp_path / "c.npy")) <= 1
    assert (made.m, made.k, made.n, made.bytes_written) == (17, 11, 13, 4 * 17 * 13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "blocks", [None, ODD, Blocks(1, 1, 1, 1), Blocks(4, 9, 100, 3), Blocks(100, 100, 4, 64)], ids=str
)
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (1, 23, 9), (9, 23, 1), (8, 1, 8), (14, 10, 15)])
def test_any_shape_in_any_blocks(tmp_path, m, k, n, blocks, dtype):
    a, b = pair(m, k, n, dtype)
    made, c = product(tmp_path, a, b, blocks=blocks)
    assert judged(a, b, c) <= 1
    assert made.dtype == np.dtype(dtype).name


@pytest.mark.parametrize(("m", "k", "n"), [(3, 0, 4), (0, 3, 4), (4, 3, 0), (0, 0, 0)])
def test_empty_axes_give_what_numpy_gives(tmp_path, m, k, n):
    _, c = product(tmp_path, *pair(m, k, n))
    assert c.shape == (m, n)
    assert not c.any()


def test_a_vector_that_stands_for_a_matrix(tmp_path):
    a, b = pair(6, 8, 5)
    row = mapped(tmp_path, "row", a[:1])
    column = mapped(tmp_path, "column", b[:, :1])
    for left, right in (
        (np.broadcast_to(row, (6, 8), subok=True), b),
        (a, np.broadcast_to(column, (8, 5), subok=True)),
    ):
        given = [x if isinstance(x, np.memmap) else save(tmp_path, "other", x) for x in (left, right)]
        matmul_out_of_core(*given, tmp_path / "c.npy", memory_limit=PLENTY, blocks=ODD)
        assert judged(np.array(left), np.array(right), np.load(tmp_path / "c.npy")) <= 1


@pytest.mark.parametrize("impl", ["cpp.packed", "numpy.matmul", "numba", "python.naive"])
def test_by_the_implementation_that_is_asked_for(tmp_path, impl):
    a, b = pair(20, 30, 10)
    made, c = product(tmp_path, a, b, impl=impl, blocks=ODD)
    assert judged(a, b, c) <= 1
    assert made.impl == ln.matmul[impl].id


def test_nan_and_infinity_pass(tmp_path):
    a, b = pair(9, 12, 9)
    a[3, 11], b[0, 4] = np.nan, np.inf
    _, c = product(tmp_path, a, b, blocks=ODD)
    assert np.isnan(c[3]).all()
    assert np.isinf(np.delete(c[:, 4], 3)).all()


def test_many_panels_are_summed_within_the_bound_of_one_sum(tmp_path):
    a, b = pair(3, 5000, 3)
    a, b = abs(a), abs(b)  # no cancelling: the bound is a relative one
    _, c = product(tmp_path, a, b, blocks=Blocks(3, 3, 2, 3))
    assert judged(a, b, c) <= 1


def test_a_mapped_result_is_written_in_place_and_nothing_beside_it(tmp_path):
    a, b = pair(12, 9, 7)
    path = tmp_path / "c.bin"
    np.full((20, 16), 5.0, np.float32).tofile(path)
    out = np.memmap(path, np.float32, "r+", 64, (19, 16))[4:16, 3:10]
    made = matmul_out_of_core(save(tmp_path, "a", a), save(tmp_path, "b", b), out, memory_limit=PLENTY, blocks=ODD)
    assert judged(a, b, np.array(out)) <= 1
    around = np.fromfile(path, np.float32).reshape(20, 16)
    around[5:17, 3:10] = 5
    assert (around == 5).all()
    assert made.out == str(path)


def test_all_three_in_one_file(tmp_path):
    a, b = pair(6, 7, 8)
    path = tmp_path / "all.bin"
    path.write_bytes(a.tobytes() + b.tobytes() + bytes(4 * 6 * 8))
    at = np.cumsum([0, a.nbytes, b.nbytes])
    views = [np.memmap(path, np.float32, "r+", int(o), s) for o, s in zip(at, ((6, 7), (7, 8), (6, 8)), strict=True)]
    matmul_out_of_core(*views, memory_limit=PLENTY, blocks=ODD)
    assert judged(a, b, np.array(views[2])) <= 1
    assert (views[0] == a).all()
    assert (views[1] == b).all()


def test_what_was_changed_through_a_mapping_is_multiplied(tmp_path):
    a, b = pair(6, 7, 8)
    path = save(tmp_path, "a", a)
    changing = np.load(path, mmap_mode="r+")
    changing[2] = 3  # and not flushed
    matmul_out_of_core(changing, save(tmp_path, "b", b), tmp_path / "c.npy", memory_limit=PLENTY)
    assert judged(np.array(changing), b, np.load(tmp_path / "c.npy")) <= 1


# --- the blocks


def test_the_blocks_read_the_least_of_all_that_fit():
    rng = np.random.default_rng(0)
    for _ in range(30):
        m, k, n = (int(x) for x in rng.integers(65, 700, 3))
        budget = int(rng.integers(60_000, 1_000_000))
        found = plan(m, k, n, 4, budget)
        depth = found.depth

        def buffers(rows, columns, depth=depth, k=k):
            strip = min(rows, max(64, -(-rows // 16))) if depth < k else 0
            return 4 * ((rows + strip) * columns + 2 * depth * (rows + columns))

        def read(rows, columns, m=m, k=k, n=n):
            return 4 * k * (-(-n // columns) * m + -(-m // rows) * n)

        assert buffers(found.rows, found.columns) <= budget
        fitting = [
            read(rows, columns)
            for rows in range(1, m + 1)
            for columns in {-(-n // q) for q in range(1, -(-n // 64) + 1)}  # 64 wide, about, at least
            if buffers(rows, columns) <= budget
        ]
        assert read(found.rows, found.columns) == min(fitting)


def test_a_large_square_product_reads_near_the_least_of_any_order():
    m = k = n = 100_000
    budget = 10**9
    blocks = plan(m, k, n, 4, budget)
    read = k * (-(-n // blocks.columns) * m + -(-m // blocks.rows) * n)
    least = least_traffic(m, k, n, budget // 4)
    assert least == pytest.approx(2 * m * n * k / (budget / 4) ** 0.5 + m * n)
    assert 1 < (read + m * n) / least < 1.3
    thirds = 2 * m * n * k / (budget / 12) ** 0.5  # blocks of a, b and c of a third of the memory each
    assert read < 0.7 * thirds


def test_what_fits_is_read_once(tmp_path):
    a, b = pair(200, 300, 100)
    made, _ = product(tmp_path, a, b)
    assert made.bytes_read == a.nbytes + b.nbytes
    assert made.bytes_bound == made.bytes_read + made.bytes_written


def test_bytes_read_are_those_of_the_formula(tmp_path):
    a, b = pair(20, 30, 18)
    made, _ = product(tmp_path, a, b, blocks=Blocks(10, 6, 7, 5))
    assert made.bytes_read == 3 * a.nbytes + 2 * b.nbytes


# --- memory


def in_a_process(code, *, timeout=120, **environment):
    """Run code in a fresh Python; what it prints, and the largest resident size that the system saw of it."""
    environment = {**os.environ, "LOOPNEST_NUM_THREADS": "2", **environment}
    program = textwrap.dedent(code) + "\nfrom loopnest.parallel.memory import largest; print(largest())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    *lines, largest = done.stdout.splitlines()
    return lines, int(largest)


@LINUX
def test_the_resident_size_of_a_fresh_process_stays_below_the_limit(tmp_path):
    limit = 128 << 20
    a, b = make_operands(tmp_path, 7000, 2000, 7000)
    lines, peak = in_a_process(f"""
        import json, numpy as np
        from loopnest.parallel import matmul_out_of_core
        from loopnest.parallel.memory import resident
        print(resident())
        a, b = (np.load(path, mmap_mode="r") for path in ({str(a)!r}, {str(b)!r}))
        a.sum()  # all of it is in the resident size now
        made = matmul_out_of_core(a, b, {str(tmp_path / "c.npy")!r}, memory_limit={limit})
        print(json.dumps(made.to_json()))
        """)
    made = json.loads(lines[-1])
    assert made["held"]
    assert made["baseline"] < int(lines[0]) + (20 << 20)  # a's pages have been let go
    operands = 4 * (2 * 7000 * 2000 + 7000 * 7000)
    assert operands > 2 * limit > 2 * made["buffers"] + 2 * made["baseline"]
    assert made["baseline"] + made["buffers"] / 2 < made["peak"] <= limit
    assert made["baseline"] < peak <= limit + (4 << 20)  # with what Python's end takes
    assert check_product(a, b, tmp_path / "c.npy").right
    for path in (a, b, tmp_path / "c.npy"):
        path.unlink()


@LINUX
def test_the_least_limit_that_the_error_tells_works(tmp_path):
    lines, _ = in_a_process(f"""
        import re, numpy as np
        from loopnest.parallel import matmul_out_of_core
        for name, shape in ("a", (1000, 400)), ("b", (400, 1000)):
            np.save({str(tmp_path)!r} + f"/{{name}}.npy", np.ones(shape, np.float32))
        files = [{str(tmp_path)!r} + f"/{{name}}.npy" for name in "abc"]
        try:
            matmul_out_of_core(*files, memory_limit=1 << 20)
        except ValueError as error:
            print(error)
            least = int(re.search("memory_limit=([0-9]+)", str(error))[1])
        made = matmul_out_of_core(*files, memory_limit=least)
        print(made.held, np.load(files[2]).min(), made.blocks.rows * made.blocks.columns < 10**6)
        """)
    assert "memory_limit is 1.00 MiB, and the process takes" in lines[0]
    assert lines[1] == "True 400.0 True"


def test_a_limit_is_told_as_not_held_when_it_was_not(tmp_path):
    made, _ = product(tmp_path, *pair(3, 4, 5))
    assert made.held
    assert not dataclasses.replace(made, peak=made.memory_limit + 1).held


@LINUX
@pytest.mark.parametrize("blind", ["looking", "the system"])
def test_the_peak_is_seen_by_looking_and_is_told_by_the_system(monkeypatch, blind):
    monkeypatch.setattr(*((memory, "INTERVAL", 100) if blind == "looking" else (memory, "largest", lambda: 0)))
    rest = np.ones(max(memory.largest() - resident(), 0) if blind == "looking" else 0, np.uint8)
    with memory.Watch() as watch:
        before = resident()
        x = np.ones(40 << 20, np.uint8)
        time.sleep(0.1)
        del x
    assert watch.peak - before > 35 << 20
    del rest


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system has no posix_fadvise")
def test_the_system_is_told_to_drop_what_was_read(tmp_path, monkeypatch):
    a, b = pair(64, 3000, 2)
    files = save(tmp_path, "a", a), save(tmp_path, "b", b)
    dropped = set()

    def noted(file, start, length, advice):
        if advice == os.POSIX_FADV_DONTNEED and os.path.samestat(os.fstat(file), os.stat(files[0])):
            assert start % 4096 == length % 4096 == 0
            dropped.update(range(start // 4096, (start + length) // 4096))

    monkeypatch.setattr(os, "posix_fadvise", noted)
    matmul_out_of_core(*files, tmp_path / "c.npy", memory_limit=PLENTY, blocks=Blocks(64, 2, 700, 64))
    assert dropped == set(range((files[0].stat().st_size) // 4096))


# --- at the same time


@pytest.fixture
def slow(monkeypatch):
    """Two implementations of matmul of this test's, forgotten at its end."""
    monkeypatch.setattr(ln.matmul, "_registered", dict(ln.matmul._registered))


def test_panels_are_read_while_those_before_them_are_multiplied(tmp_path, slow, monkeypatch):
    started = [threading.Event() for _ in range(5)]
    reads = iter(started)
    read = out_of_core._Run._read

    def noted(self, step, panels):
        next(reads).set()
        return read(self, step, panels)

    monkeypatch.setattr(out_of_core._Run, "_read", noted)
    numbers, seen = iter(range(-1, 5)), []

    @ln.matmul.register("test.waits")
    def waits(a, b, out):
        number = next(numbers)
        if number >= 0:  # the first call is the warming up
            later = min(number + 1, len(started) - 1)
            seen.append(started[later].wait(5))  # comes while this product is being made, or never
        out[:] = a @ b

    a, b = pair(4, 50, 4)
    made, c = product(tmp_path, a, b, impl="test.waits", blocks=Blocks(4, 4, 10, 4))
    assert seen == [True] * 5
    assert judged(a, b, c) <= 1
    assert made.overlap > 0


def test_strips_are_written_while_others_are_multiplied(tmp_path, slow, monkeypatch):
    second = threading.Event()
    seen, write = [], out_of_core._Run._write

    def noted(self, i, j, strip):
        if i == 0:
            seen.append(second.wait(5))  # comes while this strip is being written, or never
        write(self, i, j, strip)

    monkeypatch.setattr(out_of_core._Run, "_write", noted)
    calls = iter(range(-1, 100))  # the first call is the warming up

    @ln.matmul.register("test.writes")
    def writes(a, b, out):
        if next(calls) == 1:
            second.set()
        out[:] = a @ b

    a, b = pair(6, 5, 4)
    _, c = product(tmp_path, a, b, impl="test.writes", blocks=Blocks(6, 4, 5, 3))
    assert seen == [True]
    assert judged(a, b, c) <= 1


def test_a_strip_is_not_overwritten_before_it_is_written(tmp_path, monkeypatch):
    write = out_of_core._Run._write

    def late(self, i, j, strip):
        time.sleep(0.01)
        write(self, i, j, strip)

    monkeypatch.setattr(out_of_core._Run, "_write", late)
    a, b = pair(17, 6, 19)
    for blocks in (Blocks(6, 7, 6, 2), Blocks(6, 7, 2, 3)):
        _, c = product(tmp_path, a, b, blocks=blocks)
        assert judged(a, b, c) <= 1


def test_overlap_is_the_time_in_which_both_go_on():
    spans = [Span("read", 0, 2), Span("read", 1, 3), Span("read", 5, 6)]
    busy = [Span("multiply", 2, 4), Span("multiply", 5.5, 9)]
    reads, products = out_of_core._union(spans), out_of_core._union(busy)
    assert reads == [(0, 3), (5, 6)]
    assert out_of_core._both(reads, products) == [(2, 3), (5.5, 6)]


def test_the_record_adds_up(tmp_path):
    a, b = pair(40, 50, 60)
    made, _ = product(tmp_path, a, b, blocks=Blocks(20, 30, 25, 10))
    by_what = {what: [s for s in made.timeline if s.what == what] for what in ("read", "multiply", "write")}
    assert len(by_what["read"]) == 2 * 2 * 2
    assert len(by_what["multiply"]) == 2 * len(by_what["read"])
    assert sum(s.bytes for s in by_what["read"]) == made.bytes_read
    assert sum(s.bytes for s in by_what["write"]) == made.bytes_written
    assert 0 <= made.overlap <= made.computing <= made.seconds
    assert made.operands == a.nbytes + b.nbytes + 4 * 40 * 60
    told = json.loads(json.dumps(made.to_json(timeline=True)))
    assert len(told["timeline"]) == len(made.timeline)
    assert "timeline" not in made.to_json()


# --- what cannot be multiplied, and what is left behind


def test_what_cannot_be_multiplied_is_refused_and_nothing_is_written(tmp_path):
    a, b = save(tmp_path, "a", np.ones((4, 5), np.float32)), save(tmp_path, "b", np.ones((5, 6), np.float32))
    wide = save(tmp_path, "wide", np.ones((5, 6)))
    cut = tmp_path / "cut.npy"
    cut.write_bytes(a.read_bytes()[:-8])
    text = tmp_path / "text.npy"
    text.write_text("no array")
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([[None]], dtype=object), allow_pickle=True)
    big_end = save(tmp_path, "big_end", np.ones((5, 6), ">f4"))
    private = np.load(a, mmap_mode="c")
    wide_shape = np.memmap(tmp_path / "m.bin", np.float32, "w+", shape=(4, 7))
    readable = np.memmap(tmp_path / "m.bin", np.float32, "r", shape=(4, 6))
    columns = np.memmap(tmp_path / "m.bin", np.float32, "r+", shape=(4, 6), order="F")
    doubles = np.memmap(tmp_path / "m2.bin", np.float64, "w+", shape=(4, 6))
    over = np.memmap(a, np.float32, "r+", 64, (4, 6))
    (tmp_path / "folder.npy").mkdir()
    c, limit = tmp_path / "c.npy", {"memory_limit": PLENTY}
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def told(what, error, *args, **how):
        with pytest.raises(error, match=re.escape(what)):
            matmul_out_of_core(*args, **{**limit, **how})
        assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before

    told("b has dtype float64, expected float32 to match a", TypeError, a, wide, c)
    told("b has shape (4, 5), expected (5, n) to match a's (4, 5)", ValueError, a, a, c)
    told("a is an array in memory", TypeError, np.ones((4, 5), np.float32), b, c)
    told("a is a list", TypeError, [[1.0]], b, c)
    told("a has shape (5,), expected two axes", ValueError, np.memmap(a, np.float32, "r", 128, (5,)), b, c)
    told("cut.npy has 200 bytes, expected 208: it was cut off", ValueError, cut, b, c)
    told("text.npy is no .npy file", ValueError, text, b, c)
    told("a has dtype object", TypeError, objects, b, c)
    told("b has dtype >f4", TypeError, a, big_end, c)
    told("there is no such file", FileNotFoundError, tmp_path / "none.npy", b, c)
    told("a is mapped copy-on-write", ValueError, private, b, c)
    told("a is a copy in memory", ValueError, np.load(a, mmap_mode="r").copy(), b, c)
    told("a is an array in memory", TypeError, np.load(a, mmap_mode="r") + 1, b, c)
    told("out is an array in memory", TypeError, a, b, np.empty((4, 6), np.float32))
    told("out has shape (4, 7), expected (4, 6)", ValueError, a, b, wide_shape)
    told("out is read-only", ValueError, a, b, readable)
    told("out has strides", ValueError, a, b, columns)
    told("out has dtype float64", TypeError, a, b, doubles)
    told("out overlaps a", ValueError, a, b, over)
    told("the file of a, expected another one", ValueError, a, b, a)
    told("the file of b, expected another one", ValueError, a, b, b)
    told("expected a name that ends in .npy", ValueError, a, b, tmp_path / "c.bin")
    told("which is a folder", ValueError, a, b, tmp_path / "folder.npy")
    told("expected a folder that exists", ValueError, a, b, tmp_path / "none" / "c.npy")
    told("memory_limit is 0, expected", ValueError, a, b, c, memory_limit=0)
    told("memory_limit is '1GiB', expected", TypeError, a, b, c, memory_limit="1GiB")
    told("the least that works is memory_limit=", ValueError, a, b, c, memory_limit=1000)
    told("the least that works is memory_limit=", ValueError, a, b, c, blocks=Blocks(4, 6, 5, 4), memory_limit=1000)
    told("no implementation has the id", LookupError, a, b, c, impl="cpp.none")
    with pytest.raises(ValueError, match="Blocks: depth is 0"):
        Blocks(1, 1, 0, 1)


def test_a_link_to_an_input_is_that_input(tmp_path):
    a, b = save(tmp_path, "a", np.ones((4, 4), np.float32)), save(tmp_path, "b", np.ones((4, 4), np.float32))
    (tmp_path / "soft.npy").symlink_to(a)
    os.link(b, tmp_path / "hard.npy")
    for link, name in (("soft", "a"), ("hard", "b")):
        with pytest.raises(ValueError, match=f"the file of {name}, expected another one"):
            matmul_out_of_core(a, b, tmp_path / f"{link}.npy", memory_limit=PLENTY)


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("loopnest-")]


@pytest.mark.parametrize("when", [1, 3])
def test_ctrl_c_leaves_the_file_that_was_there(tmp_path, when):
    a, b = save(tmp_path, "a", np.ones((8, 8))), save(tmp_path, "b", np.ones((8, 8)))
    out = save(tmp_path, "c", np.arange(3.0))
    calls = []

    def interrupt(done):
        calls.append(done)
        if len(calls) == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matmul_out_of_core(a, b, out, memory_limit=PLENTY, blocks=Blocks(4, 4, 4, 2), on_progress=interrupt)
    assert (np.load(out) == np.arange(3.0)).all()
    assert left(tmp_path) == ["a.npy", "b.npy", "c.npy"]
    assert threads() == []


def test_reading_ends_soon_after_ctrl_c(tmp_path, monkeypatch):
    a, b = save(tmp_path, "a", np.ones((300, 8))), save(tmp_path, "b", np.ones((8, 8)))
    calls, preadv = [], os.preadv

    def slowly(*args):
        calls.append(args)
        time.sleep(0.002)
        return preadv(*args)

    def interrupt(done):
        end = time.monotonic() + 5
        while len(calls) < 310 and time.monotonic() < end:  # the second panel is being read
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "preadv", slowly)
    with pytest.raises(KeyboardInterrupt):
        matmul_out_of_core(
            a, b, tmp_path / "c.npy", memory_limit=PLENTY, blocks=Blocks(300, 8, 4, 300), on_progress=interrupt
        )
    assert 310 <= len(calls) < 550  # not all of the second panel's lines


@pytest.mark.parametrize("call", ["preadv", "pwrite"])
def test_an_error_of_the_disk_is_raised_and_leaves_the_file_that_was_there(tmp_path, monkeypatch, call):
    a, b = save(tmp_path, "a", np.ones((8, 8))), save(tmp_path, "b", np.ones((8, 8)))
    out = save(tmp_path, "c", np.arange(3.0))
    calls, true = [], getattr(os, call)

    def broken(*args):
        calls.append(args)
        if len(calls) > 6:
            raise OSError(errno.EIO, "the disk is broken")
        return true(*args)

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OSError, match="the disk is broken"):
        matmul_out_of_core(a, b, out, memory_limit=PLENTY, blocks=Blocks(4, 4, 4, 2))
    monkeypatch.undo()
    assert (np.load(out) == np.arange(3.0)).all()
    assert left(tmp_path) == ["a.npy", "b.npy", "c.npy"]
    assert threads() == []


def test_a_file_that_becomes_shorter_is_told(tmp_path):
    a, b = save(tmp_path, "a", np.ones((64, 64))), save(tmp_path, "b", np.ones((64, 64)))

    def cut(done):
        os.truncate(a, 1000)

    with pytest.raises(OSError, match=r"the file ended at byte 1000 while it was read.*a\.npy"):
        matmul_out_of_core(a, b, tmp_path / "c.npy", memory_limit=PLENTY, blocks=Blocks(8, 8, 64, 8), on_progress=cut)
    assert left(tmp_path) == ["a.npy", "b.npy"]


@LINUX
def test_a_full_disk_is_told_before_the_work(tmp_path):
    a, b = save(tmp_path, "a", np.ones((100, 4))), save(tmp_path, "b", np.ones((4, 100)))
    out = save(tmp_path, "c", np.arange(3.0))
    code = f"""
        import resource
        from loopnest.parallel import matmul_out_of_core
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # a file has no more room than this
        try:
            matmul_out_of_core({str(a)!r}, {str(b)!r}, {str(out)!r}, memory_limit=1 << 30,
                               on_progress=lambda done: print("began"))
        except OSError as error:
            print(error)
        """
    lines, _ = in_a_process(code)
    assert len(lines) == 1
    assert re.search(
        r"out needs 78\.2 KiB, and there is no room for it: File too large, .* are free: .*c\.npy", lines[0]
    )
    assert (np.load(out) == np.arange(3.0)).all()
    assert left(tmp_path) == ["a.npy", "b.npy", "c.npy"]


def test_what_killed_processes_have_left_is_removed_and_what_others_are_at_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".c.npy.{ended.pid}.unfinished").write_bytes(b"part")
    (tmp_path / ".c.npy.1.unfinished").write_bytes(b"process 1 runs")
    (tmp_path / f".d.npy.{ended.pid}.unfinished").write_bytes(b"another's")
    product(tmp_path, *pair(3, 4, 5))
    assert left(tmp_path) == [".c.npy.1.unfinished", f".d.npy.{ended.pid}.unfinished", "a.npy", "b.npy", "c.npy"]


def test_a_mapped_file_that_was_removed_is_told(tmp_path):
    a = mapped(tmp_path, "a", np.ones((4, 4)))
    (tmp_path / "a.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"a: its file is no longer there.*a\.bin"):
        matmul_out_of_core(a, save(tmp_path, "b", np.ones((4, 4))), tmp_path / "c.npy", memory_limit=PLENTY)


def test_inputs_are_never_changed(tmp_path):
    a, b = pair(33, 44, 22)
    files = [save(tmp_path, "a", a), save(tmp_path, "b", b)]
    before = [path.read_bytes() for path in files]
    for path in files:
        path.chmod(0o444)
    matmul_out_of_core(*files, tmp_path / "c.npy", memory_limit=PLENTY, blocks=ODD)
    assert [path.read_bytes() for path in files] == before


# --- samples, operands, the commands


def test_a_wrong_element_of_a_sample_is_found(tmp_path):
    a, b = pair(30, 40, 50)
    _, c = product(tmp_path, a, b)
    files = [tmp_path / f"{name}.npy" for name in "abc"]
    found = check_product(*files, rows=30, columns=50)
    assert found.right
    assert found.worst > 0
    c[-1, -1] += 1e-3
    save(tmp_path, "c", c)
    found = check_product(*files, rows=4, columns=8)
    assert (found.right, found.at) == (False, (29, 49))
    c[-1, -1] = np.nan
    save(tmp_path, "c", c)
    assert not check_product(*files).right


def test_operands_are_the_same_for_a_seed_and_never_overwritten(tmp_path):
    one, other = (make_operands(tmp_path / name, 20, 30, 10, seed=3) for name in ("one", "other"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]
    assert np.load(one[0]).std() == pytest.approx(1, abs=0.1)
    with pytest.raises(FileExistsError):
        make_operands(tmp_path / "one", 20, 30, 10)
    assert one[0].read_bytes() == other[0].read_bytes()
    with pytest.raises(OSError, match="are free"):
        make_operands(tmp_path / "large", 10**8, 10**7, 10**8)
    assert left(tmp_path / "large") == []
    with pytest.raises(ValueError, match="k is 0"):
        make_operands(tmp_path, 1, 0, 1)


def test_sizes_are_read_with_their_units():
    assert parse_size("1GiB") == 2**30
    assert [parse_size(text) for text in ("1 kB", "2M", "3gib", "17")] == [1000, 2 * 10**6, 3 * 2**30, 17]
    for wrong in ("", "GiB", "1.5.2", "1 parsec", "-1"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size(wrong)


def test_the_command_tells_what_was_done(tmp_path):
    runner = CliRunner()
    made = runner.invoke(commands.make_operands_command, [str(tmp_path), "--m", "300", "--k", "200", "--n", "100"])
    assert made.exit_code == 0, made.output
    files = [str(tmp_path / f"{name}.npy") for name in "ABC"]
    done = runner.invoke(commands.matmul_command, [*files, "--limit", "4GiB"])
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    for words in ("(300 x 200) · (200 x 100), float32", "held", "GFLOP/s", "256 elements, right"):
        assert words in done.output
    assert np.load(files[2]).shape == (300, 100)
    told = json.loads(runner.invoke(commands.matmul_command, [*files, "--limit", "4GiB", "--json"]).output)
    assert told["check"]["right"]
    assert told["timeline"]
    for limit, code, what in (("1MB", 1, "the least that works is"), ("much", 2, "is no size")):
        done = runner.invoke(commands.matmul_command, [*files, "--limit", limit])
        assert done.exit_code == code
        assert what in done.output


def test_ctrl_c_ends_the_command_with_a_message_and_nothing_left(tmp_path):
    a, b = make_operands(tmp_path, 4000, 3000, 4000)
    command = [sys.executable, "-c", "from loopnest.parallel.__main__ import run; run()", "matmul", str(a), str(b)]
    process = subprocess.Popen(
        [*command, str(tmp_path / "C.npy"), "--impl", "cpp.naive"], stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".C.npy.*")) and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert left(tmp_path) == ["A.npy", "B.npy"]


def test_it_needs_no_torch():
    lines, _ = in_a_process("""
        import sys
        sys.modules["torch"] = None  # importing it fails
        from loopnest.parallel import matmul_out_of_core
        from loopnest.parallel import cost
        print("done")
        """)
    assert lines == ["done"]


def test_rows_and_columns_are_told_apart_by_what_lies_together(tmp_path):
    x = np.ones((40, 30), np.float32)
    path = save(tmp_path, "x", x)
    rows, columns = open_matrix("a", path), open_matrix("a", np.load(path, mmap_mode="r").T)
    assert (rows.by_columns, columns.by_columns) == (False, True)
    one = np.load(path, mmap_mode="r")[:, 3:4]  # 40 single elements, and not one line over all of the matrix
    assert open_matrix("a", one).unit == 4
    assert not open_matrix("a", one).by_columns
