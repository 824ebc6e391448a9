"""Products of matrices that lie in files and are larger than the memory that they may take.

c is made in large blocks that stay in memory while panels of a's rows and of b's columns come by: of each byte of
memory, most is c's, since a block of r x s elements of c takes k (r + s) elements of a and b from the file, whatever
the panels' depth is. While one pair of panels is multiplied, a thread reads the next one, and another writes the strips
of c that are done. docs/out-of-core.md derives the blocks' sizes.

Hong and Kung, I/O complexity: the red-blue pebble game (STOC 1981); Toledo, A survey of out-of-core algorithms in
numerical linear algebra (1999); Kwasniewski et al., Red-blue pebbling revisited (SC 2019), theorem 1: no order of a
product's multiplications moves less than 2 m n k / √S + m n elements between a memory of S elements and the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..backends.threads import num_threads
from ..operation import Implementation
from ..operations.matmul import matmul
from .files import WHERE, OnDisk, Output, open_matrix, open_output
from .memory import Watch, let_go, resident, size_text

SCRATCH, OF_A_THREAD = 8 << 20, 8 << 20
"""Bytes kept free for the interpreter's use, and for what each thread of a kernel packs into: up to 6 MB in C++."""

TILE = 64
"""Rows, columns and depth of the smallest blocks that are worth a kernel's call; the least limit is made of these."""

STRIPS = 16
"""Strips of a block's rows: each is a kernel's call, whose product is added to c, and is written during the next."""

DEPTH = 16
"""√S over the panels' depth: with 1/16, the four panels take a fifth of the memory, and the block's side is 0.86 √S."""


@dataclass(frozen=True)
class Blocks:
    """In which pieces a product is made.

    rows, columns  of a block of c that stays in memory
    depth          columns of a's panels and rows of b's
    strip          rows of c that one call of the kernel makes
    """

    rows: int
    columns: int
    depth: int
    strip: int

    def __post_init__(self) -> None:
        for name, size in dataclasses.asdict(self).items():
            if size < 1:
                raise ValueError(f"Blocks: {name} is {size}, expected a whole number from 1 up")

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.columns:,}, panels {self.depth:,} deep, strips of {self.strip:,} rows"


@dataclass(frozen=True)
class Span:
    """What one thread did from `start` to `end`, in seconds since the product began.

    what   "read", "multiply", "write" or "wait": the multiplying thread had nothing to multiply yet
    bytes  that were read or written
    """

    what: str
    start: float
    end: float
    bytes: int = 0


@dataclass(frozen=True)
class OutOfCoreProduct:
    """How a product of matrices in files was made. Sizes are in bytes, times in seconds.

    out            the file that holds c
    m, k, n        a is (m, k), b (k, n), c (m, n)
    impl           the implementation's id
    memory_limit   what the process's resident size was to stay below
    baseline       its resident size before the product
    buffers        what was allocated for blocks and panels
    peak           its largest resident size meanwhile
    bytes_read     asked of the files of a and b
    bytes_written  of c
    bytes_bound    what any order of multiplications reads and writes at least with as much memory as the buffers'
    storage_read   what the system fetched from storage meanwhile, and not from its cache; None where it does not tell
    seconds        from the first read to the last byte flushed
    reading        in which something was read; likewise writing and computing
    overlap        in which something was read or written, and multiplied at the same time
    waiting        in which the kernel had to wait for a panel or for a strip to be written
    timeline       what the threads did
    """

    out: str
    m: int
    k: int
    n: int
    dtype: str
    impl: str
    memory_limit: int
    baseline: int
    buffers: int
    peak: int
    blocks: Blocks
    bytes_read: int
    bytes_written: int
    bytes_bound: int
    storage_read: int | None
    seconds: float
    reading: float
    computing: float
    writing: float
    overlap: float
    waiting: float
    timeline: tuple[Span, ...] = ()

    @property
    def held(self) -> bool:
        """Whether the resident size stayed below the limit."""
        return self.peak <= self.memory_limit

    @property
    def flops(self) -> float:
        """Flops a second, from the first read to the last byte."""
        return 2 * self.m * self.k * self.n / self.seconds if self.seconds else 0.0

    @property
    def operands(self) -> int:
        """Bytes of a, b and c together."""
        return np.dtype(self.dtype).itemsize * (self.m * self.k + self.k * self.n + self.m * self.n)

    def to_json(self, timeline: bool = False) -> dict[str, Any]:
        """For json.dumps; with the timeline where that is asked for."""
        data = dataclasses.asdict(self)
        if not timeline:
            del data["timeline"]
        return {**data, "held": self.held, "flops": self.flops}


def matmul_out_of_core(
    a: Any,
    b: Any,
    out: Any,
    *,
    memory_limit: int,
    impl: str | None = None,
    blocks: Blocks | None = None,
    on_progress: Callable[[float], None] = lambda done: None,
) -> OutOfCoreProduct:
    """The product of two matrices in files, c[i, j] = Σ_k a[i, k] · b[k, j], in no more memory than a limit.

    a             (m, k) float32 or float64: an np.memmap of any strides, or the path of an .npy file
    b             (k, n) of the same dtype, likewise
    out           the path of an .npy file to write, or an np.memmap (m, n) with rows in one piece, open for writing
    memory_limit  bytes that the process's resident size may reach: the interpreter with what it has in memory, some
                  50 MB with NumPy alone, and all blocks. The system's cache of files is not counted in it
    impl          the id of an implementation of matmul that multiplies the blocks; the fastest where it is None
    blocks        in which pieces, where that is not to be found from the limit
    on_progress   is called with the share that is done, after each pair of panels

    Returns the record of what was done. |c - exact| <= γ_k · |a||b| elementwise, as of matmul: that bound holds for
    every order of summation.

    Where `out` is a path, c is written beside it, flushed and renamed: the file is the whole product, or what was there
    before. An np.memmap is written to as blocks are done, so an error or Ctrl-C leaves parts of it new and parts old.
    The system is told that what was read of a and b, and what was written, need not stay in its cache of files.

    Raises ValueError or TypeError, naming the argument, for what cannot be multiplied, or a limit that is too small,
    with the least that works; OSError where a file cannot be read or written or the disk is full. Nothing of the
    user's is changed then.

    >>> import numpy as np, tempfile
    >>> from loopnest.parallel import matmul_out_of_core
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/a.npy", np.ones((300, 200), np.float32))
    ...     np.save(f"{folder}/b.npy", np.ones((200, 100), np.float32))
    ...     made = matmul_out_of_core(f"{folder}/a.npy", f"{folder}/b.npy", f"{folder}/c.npy", memory_limit=2**30)
    ...     c = np.load(f"{folder}/c.npy")
    >>> c.shape, float(c.max()), made.bytes_written
    ((300, 100), 200.0, 120000)
    """
    limit = _checked_limit(memory_limit)
    left, right = open_matrix("a", a), open_matrix("b", b)
    if left.dtype != right.dtype:
        raise TypeError(f"{WHERE}: b has dtype {right.dtype}, expected {left.dtype} to match a")
    if left.shape[1] != right.shape[0]:
        raise ValueError(f"{WHERE}: b has shape {right.shape}, expected ({left.shape[1]}, n) to match a's {left.shape}")
    kernel = matmul[impl] if impl is not None else matmul.fastest()
    let_go(a, b, out)
    _warm_up(kernel, left.dtype)
    baseline = resident()
    (m, k), n = left.shape, right.shape[1]
    room = limit - baseline - _scratch()
    pieces = blocks or plan(m, k, n, left.dtype.itemsize, room, left.unit, right.unit)
    if pieces is None or _buffers(pieces, left, right) > room:
        raise ValueError(_too_small(limit, baseline, left, right, blocks))
    with open_output(out, (m, n), left.dtype, {"a": left, "b": right}) as target:
        run = _Run(left, right, target, pieces, kernel, on_progress)
        with Watch() as watch:
            run.make()
        target.finish()
    return run.record(limit, baseline, watch)


def _checked_limit(limit: Any) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer):
        raise TypeError(f"{WHERE}: memory_limit is {limit!r}, expected a whole number of bytes, such as 2**30")
    if limit <= 0:
        raise ValueError(f"{WHERE}: memory_limit is {limit}, expected a positive number of bytes")
    return int(limit)


def _warm_up(kernel: Implementation, dtype: np.dtype[Any]) -> None:
    """Let the implementation load and compile what it needs, so that the memory which that takes is counted."""
    x = np.ones((TILE, TILE), dtype)
    kernel(x, x, out=np.empty_like(x))


def _scratch() -> int:
    return SCRATCH + OF_A_THREAD * num_threads()


def _too_small(limit: int, baseline: int, a: OnDisk, b: OnDisk, blocks: Blocks | None) -> str:
    """What to say of a limit that is too small, with the least that works: in whole MiB, as sizes vary by some KiB."""
    (m, k), n = a.shape, b.shape[1]
    if blocks is None:
        rows, columns, depth = (max(1, min(size, TILE)) for size in (m, n, k))
        blocks = Blocks(rows, columns, depth, strip=rows)
    least = -(-(baseline + _scratch() + _buffers(blocks, a, b)) // 2**20) + 1
    return (
        f"{WHERE}: memory_limit is {size_text(limit)}, and the process takes {size_text(baseline)} already; with "
        f"{size_text(_scratch())} for the kernel's own use, blocks of {blocks} take {least} MiB: the least that works "
        f"is memory_limit={least << 20}"
    )


# --- the blocks


def plan(
    m: int, k: int, n: int, itemsize: int, budget: int, a_unit: int | None = None, b_unit: int | None = None
) -> Blocks | None:
    """The blocks that read the fewest bytes of all whose buffers take no more than `budget`; None where none do.

    budget          bytes
    a_unit, b_unit  bytes that an element of a panel takes: more than itemsize where a view skips some

    With p blocks of rows and q of columns, a is read q times and b p times. For each p the columns are as many as fit,
    so q is known, and the best of all p is the answer: nearly square blocks, but where a matrix is small.

    >>> plan(32_000, 16_000, 24_000, 4, 10**9)
    Blocks(rows=10667, columns=12000, depth=942, strip=667)
    """
    a_unit, b_unit = a_unit or itemsize, b_unit or itemsize
    if budget <= 0:
        return None
    if not (m and k and n):
        return Blocks(rows=1, columns=1, depth=1, strip=1)  # there is nothing to multiply
    depth = panel_depth(k, itemsize, budget)
    while True:
        best: tuple[int, Blocks] | None = None
        count = 1
        while count <= m and (best is None or count * k * n * itemsize < best[0]):
            rows = -(-m // count)
            columns = _columns_that_fit(rows, k, n, depth, itemsize, budget, a_unit, b_unit)
            if columns:
                across = -(-n // columns)
                read = itemsize * k * (across * m + count * n)
                if best is None or read < best[0]:
                    best = read, Blocks(rows, -(-n // across), depth, _strip(rows))
            count += 1 if columns else 1 + count // 64
        if best is not None:
            return best[1]
        if depth <= TILE:
            return None
        depth = max(depth // 2, TILE)


def panel_depth(k: int, itemsize: int, budget: int) -> int:
    """√S / 16, S the elements in the budget; in panels as deep as one another, of 64 at least.

    Four panels of depth d beside a block of side s take s² + 4 d s of S elements. Flat panels leave more to the block,
    so that less is read; deep ones are multiplied faster, since each adds its product to all of the block.
    """
    wanted = max(TILE, math.isqrt(budget // itemsize) // DEPTH)
    return -(-k // -(-k // wanted))


def _strip(rows: int) -> int:
    return min(rows, max(TILE, -(-rows // STRIPS)))


def _columns_that_fit(
    rows: int, k: int, n: int, depth: int, itemsize: int, budget: int, a_unit: int, b_unit: int
) -> int:
    """How many columns a block of so many rows can have; 0 where not even some TILE, or all n, fit."""
    product = _strip(rows) if depth < k else 0  # of a strip, before it is added
    left = budget - 2 * depth * rows * a_unit
    columns = min(n, left // ((rows + product) * itemsize + 2 * depth * b_unit))
    least = -(-n // -(-n // TILE))  # in blocks as wide as one another
    return columns if columns >= least else 0


def _buffers(blocks: Blocks, a: OnDisk, b: OnDisk) -> int:
    """Bytes of c's block, a strip's product, and two panels of each operand."""
    (m, k), n = a.shape, b.shape[1]
    rows, columns, depth = min(blocks.rows, m), min(blocks.columns, n), min(blocks.depth, k)
    product = min(blocks.strip, rows) if depth < k else 0
    panels = 2 * depth * (rows * a.unit + columns * b.unit)
    return a.dtype.itemsize * (rows + product) * columns + panels


def least_traffic(m: int, k: int, n: int, memory: int) -> float:
    """Elements that any order of the multiplications moves between a memory of so many elements and the file.

    2 m n k / √S + m n (Kwasniewski et al. 2019, theorem 1), and each element of a, b and c once at least.
    """
    once = m * k + k * n + m * n
    return max(float(once), 2 * m * n * k / math.sqrt(memory) + m * n) if memory else float(once)


# --- the product


class _Run:
    """One product: its buffers, its three threads, and what each of them did."""

    def __init__(
        self,
        a: OnDisk,
        b: OnDisk,
        target: Output,
        blocks: Blocks,
        kernel: Implementation,
        on_progress: Callable[[float], None],
    ) -> None:
        self.a, self.b, self.target, self.blocks, self.kernel = a, b, target, blocks, kernel
        self.on_progress = on_progress
        (self.m, self.k), self.n = a.shape, b.shape[1]
        self.spans: list[Span] = []
        self.began = 0.0
        self.seconds = 0.0
        self.bytes_read = 0
        self.stopping = threading.Event()

    def make(self) -> None:
        self.began = time.perf_counter()
        if self.k and self.m and self.n:
            with self.a.opened(), self.b.opened(), self._threads() as (reader, writer):
                self._blocks(reader, writer)
        else:
            self.target.fill_with_zeros()
        with self._span("write"):
            self.target.flush()
        self.seconds = time.perf_counter() - self.began

    @contextlib.contextmanager
    def _threads(self) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
        """The thread that reads and the one that writes. What they are at is waited for: it has buffers and files."""
        with (
            ThreadPoolExecutor(1, thread_name_prefix="loopnest-reader") as reader,
            ThreadPoolExecutor(1, thread_name_prefix="loopnest-writer") as writer,
        ):
            try:
                yield reader, writer
            except BaseException:
                self.stopping.set()
                for thread in (reader, writer):
                    thread.shutdown(wait=False, cancel_futures=True)
                raise

    def _blocks(self, reader: ThreadPoolExecutor, writer: ThreadPoolExecutor) -> None:
        size = self.blocks
        rows, columns, depth = min(size.rows, self.m), min(size.columns, self.n), min(size.depth, self.k)
        dtype = self.a.dtype
        c = np.empty(rows * columns, dtype)
        product = np.empty(min(size.strip, rows) * columns if depth < self.k else 0, dtype)
        slots = [
            (np.empty(rows * depth * self.a.unit, np.uint8), np.empty(depth * columns * self.b.unit, np.uint8))
            for _ in range(2)
        ]
        steps = [
            (i, j, p) for i in _ranges(self.m, rows) for j in _ranges(self.n, columns) for p in _ranges(self.k, depth)
        ]
        before: dict[int, Future[None]] = {}  # the last block's strips that are being written, by where they begin in c
        strips: dict[int, Future[None]] = {}  # and this one's
        coming = reader.submit(self._read, steps[0], slots[0])
        for number, ((i0, i1), (j0, j1), (p0, _)) in enumerate(steps):
            with self._span("wait"):
                a, b = coming.result()
            if number + 1 < len(steps):  # into the panels that were multiplied before these
                coming = reader.submit(self._read, steps[number + 1], slots[(number + 1) % 2])
            block = c[: (i1 - i0) * (j1 - j0)].reshape(i1 - i0, j1 - j0)
            last = number + 1 == len(steps) or steps[number + 1][2][0] == 0
            for r0, r1 in _ranges(i1 - i0, size.strip):
                if p0 == 0:
                    with self._span("wait"):
                        _wait_for(before, r1 * (j1 - j0))
                    self._multiply(a[r0:r1], b, block[r0:r1], None)
                else:
                    self._multiply(a[r0:r1], b, block[r0:r1], product)
                if last:
                    strips[r0 * (j1 - j0)] = writer.submit(self._write, i0 + r0, j0, block[r0:r1])
            if last:
                with self._span("wait"):
                    _wait_for(before, c.size)
                before, strips = strips, {}
            self.on_progress((number + 1) / len(steps))
        with self._span("wait"):
            _wait_for(before, c.size)

    def _read(self, step: Any, panels: tuple[Array, Array]) -> tuple[Array, Array]:
        (i0, i1), (j0, j1), (p0, p1) = step
        begin, start = time.perf_counter(), self.began
        a, a_bytes = self.a.read(i0, i1, p0, p1, panels[0], self.stopping)
        b, b_bytes = self.b.read(p0, p1, j0, j1, panels[1], self.stopping)
        self.bytes_read += a_bytes + b_bytes
        self.spans.append(Span("read", begin - start, time.perf_counter() - start, a_bytes + b_bytes))
        return a, b

    def _multiply(self, a: Array, b: Array, c: Array, product: Array | None) -> None:
        """c = a b, or c += a b where there is memory for the product."""
        with self._span("multiply"):
            if product is None:
                self.kernel(a, b, out=c)
            else:
                made = product[: c.size].reshape(c.shape)
                self.kernel(a, b, out=made)
                np.add(c, made, out=c)

    def _write(self, i: int, j: int, strip: Array) -> None:
        with self._span("write", strip.nbytes):
            self.target.write(i, j, strip, self.stopping)

    @contextlib.contextmanager
    def _span(self, what: str, bytes: int = 0) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.spans.append(Span(what, begin - self.began, time.perf_counter() - self.began, bytes))

    def record(self, limit: int, baseline: int, watch: Watch) -> OutOfCoreProduct:
        dtype = self.a.dtype
        buffers = _buffers(self.blocks, self.a, self.b)
        by_what = {what: _union(s for s in self.spans if s.what == what) for what in ("read", "write", "multiply")}
        moving = _union(s for s in self.spans if s.what in ("read", "write"))
        return OutOfCoreProduct(
            out=str(self.target.path),
            m=self.m,
            k=self.k,
            n=self.n,
            dtype=dtype.name,
            impl=self.kernel.id,
            memory_limit=limit,
            baseline=baseline,
            buffers=buffers,
            peak=watch.peak,
            blocks=self.blocks,
            bytes_read=self.bytes_read,
            bytes_written=self.m * self.n * dtype.itemsize,
            bytes_bound=round(dtype.itemsize * least_traffic(self.m, self.k, self.n, buffers // dtype.itemsize)),
            storage_read=watch.storage_read,
            seconds=self.seconds,
            reading=_length(by_what["read"]),
            computing=_length(by_what["multiply"]),
            writing=_length(by_what["write"]),
            overlap=_length(_both(moving, by_what["multiply"])),
            waiting=sum(s.end - s.start for s in self.spans if s.what == "wait"),
            timeline=tuple(sorted(self.spans, key=lambda span: span.start)),
        )


def _ranges(length: int, piece: int) -> list[tuple[int, int]]:
    """0 … length in pieces."""
    return [(start, min(start + piece, length)) for start in range(0, length, piece)]


def _wait_for(strips: dict[int, Future[None]], end: int) -> None:
    """Wait until all strips that begin before the buffer's element `end` are written."""
    for start in [start for start in strips if start < end]:
        strips.pop(start).result()


Interval = tuple[float, float]


def _union(spans: Any) -> list[Interval]:
    """The times in which any of these went on, in order."""
    joined: list[Interval] = []
    for start, end in sorted((s.start, s.end) for s in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _both(ones: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """The times in which both go on."""
    found, i, j = [], 0, 0
    while i < len(ones) and j < len(others):
        start, end = max(ones[i][0], others[j][0]), min(ones[i][1], others[j][1])
        if start < end:
            found.append((start, end))
        i, j = (i + 1, j) if ones[i][1] < others[j][1] else (i, j + 1)
    return found


def _length(intervals: Sequence[Interval]) -> float:
    return sum(end - start for start, end in intervals)
