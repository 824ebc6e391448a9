"""matmul in Numba: Python's loops, compiled for this processor when they are first called.

The kernels read like the ones in in_python.py. From rung to rung the order of the loops differs, and with it what the
compiler, LLVM, can turn into vector instructions and what the caches can hold.
"""

import functools

import numpy as np

from ..._core import cache_sizes
from ...arrays import REDUCED, Array, dtype_called
from ...backends import NUMBA
from ...backends.numba import compiled, helper, reordering_helper
from ...backends.threads import num_threads, share
from ...numerics import rounded_to, scaled

_L1, _L2, _ = cache_sizes()


@compiled
def naive(a: Array, b: Array, c: Array) -> None:
    """The definition, compiled: c[i, j] is the sum over p of a[i, p] · b[p, j].

    The text is python.naive's, but Numba knows the type of every name: a product and a sum are an instruction each,
    hundreds of times as fast. Two things limit it. The sum is one chain of additions: each waits 3 or 4 cycles for the
    one before, and IEEE arithmetic forbids the compiler to reorder it. And in a row-major b the inner loop walks down a
    column: it uses 4 or 8 bytes of each 64-byte cache line.
    """
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            c_ij = c.dtype.type(0)
            for p in range(k):
                c_ij += a[i, p] * b[p, j]
            c[i, j] = c_ij


@compiled(any_strides=("a",))
def reordered(a: Array, b: Array, c: Array) -> None:
    """The loops in the order i, p, j: the innermost runs along a row of b and a row of c.

    Neighbours in the inner loop are now neighbours in memory, and its iterations are independent: LLVM makes vector
    instructions of them, after a check at run time that b and c do not overlap. A b in another order than C keeps the
    loop scalar. What limits it: each multiply-add loads an element of b and loads and stores one of c, and all of b
    streams past once for every row of c.
    """
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            c[i, j] = 0
        for p in range(k):
            a_ip = a[i, p]
            for j in range(n):
                c[i, j] += a_ip * b[p, j]


@helper
def _block_sizes(itemsize: int) -> tuple[int, int]:
    """Rows and columns of a block of b: a row of it and a row of c fill half of L1, the block half of L2."""
    cols = _L1 // 2 // (2 * itemsize)
    return max(_L2 // 2 // (cols * itemsize), 1), cols


@compiled(any_strides=("a",))
def blocked(a: Array, b: Array, c: Array) -> None:
    """The loops of reordered over blocks of b that stay in the L2 cache while every row of a passes by.

    A block of b, half an L2 cache large, is fetched once and used for all m rows. It pays once b outgrows the caches,
    or as soon as other cores use L3 too; before that the prefetcher hides the streaming. What limits it is the
    innermost loop: two loads and a store for each multiply-add keep the load and store ports full and the multipliers
    idle.
    """
    m, k = a.shape
    n = b.shape[1]
    inner, cols = _block_sizes(c.itemsize)
    for i in range(m):
        for j in range(n):
            c[i, j] = 0
    for p0 in range(0, k, inner):
        for j0 in range(0, n, cols):
            for i in range(m):
                # Rows as arrays of their own: an index that starts at 0 cannot be negative. With j from j0 on, Numba
                # would check for each j whether it counts from the end, and LLVM would not vectorize that.
                c_row = c[i, j0 : j0 + cols]
                for p in range(p0, min(p0 + inner, k)):
                    a_ip = a[i, p]
                    b_row = b[p, j0 : j0 + cols]
                    for j in range(c_row.size):
                        c_row[j] += a_ip * b_row[j]


_TILE_ROWS, _TILE_COLS = 4, 3  # 12 sums, 3 vectors of b, 1 of a: the 16 vector registers of AVX2


@helper
def _tile_sizes(itemsize: int) -> tuple[int, int]:
    """Depth and columns of a block of b: 4 rows of a and 3 columns of b, `depth` long, fill half of L1; the block half
    of L2. Half, since whatever else passes through a cache takes room too."""
    depth = _L1 // 2 // ((_TILE_ROWS + _TILE_COLS) * itemsize) // 16 * 16
    cols = _L2 // 2 // (depth * itemsize) // _TILE_COLS * _TILE_COLS
    return max(depth, 16), max(cols, _TILE_COLS)


@compiled(any_strides=("a", "b", "c"))
def register_tiled(a: Array, b: Array, c: Array) -> None:
    """A tile of c, 4 x 3, stays in registers while a block of 4 rows of a meets 3 columns of b.

    Numba may reorder the 12 sums, so LLVM keeps each in one vector register, a partial sum a lane, and adds the lanes
    up at the end. A step of p is 7 vector loads and 12 multiply-adds; reordered has 24 loads and 12 stores. The 12
    chains hide each other's latency of 4 cycles. The vectors run along p, so rows of a and columns of b are copied
    ("packed") into contiguous scratch memory, block by block, whatever their layout. What limits it: adding up the
    lanes and the packing, which weigh more for small k and m. LLVM has chosen the vectors; cpp.packed chooses its own
    and is faster.
    """
    m, k = a.shape
    n = b.shape[1]
    depth, cols = _tile_sizes(c.itemsize)
    depth = max(min(depth, k), 1)
    cols = max(min(cols, (n + _TILE_COLS - 1) // _TILE_COLS * _TILE_COLS), 1)
    a_rows = np.empty((_TILE_ROWS, depth), c.dtype)
    b_cols = np.empty((cols, depth), c.dtype)  # a column of b as a row
    tile = np.empty((_TILE_ROWS, _TILE_COLS), c.dtype)
    for i in range(m):
        for j in range(n):
            c[i, j] = 0
    for p0 in range(0, k, depth):
        for j0 in range(0, n, cols):
            b_block = b[p0 : p0 + depth, j0 : j0 + cols]
            for p in range(b_block.shape[0]):
                for j in range(b_block.shape[1]):
                    b_cols[j, p] = b_block[p, j]
            for i0 in range(0, m, _TILE_ROWS):
                a_block = a[i0 : i0 + _TILE_ROWS, p0 : p0 + depth]
                for i in range(a_block.shape[0]):
                    for p in range(a_block.shape[1]):
                        a_rows[i, p] = a_block[i, p]
                for j1 in range(0, b_block.shape[1], _TILE_COLS):
                    # At the edges the whole tile is computed, from stale values beyond them, and only its inner part
                    # is added.
                    _tile(a_rows, b_cols[j1 : j1 + _TILE_COLS], b_block.shape[0], tile)
                    c_part = c[i0 : i0 + _TILE_ROWS, j0 + j1 : min(j0 + j1 + _TILE_COLS, j0 + cols)]
                    for i in range(c_part.shape[0]):
                        for j in range(c_part.shape[1]):
                            c_part[i, j] += tile[i, j]


@reordering_helper
def _tile(a: Array, b: Array, depth: int, c: Array) -> None:
    """c = a · bᵀ over the first `depth` elements of the rows: 4 of a and 3 of b."""
    a0, a1, a2, a3 = a[0, :depth], a[1, :depth], a[2, :depth], a[3, :depth]
    b0, b1, b2 = b[0], b[1], b[2]
    c00 = c01 = c02 = c10 = c11 = c12 = c20 = c21 = c22 = c30 = c31 = c32 = c.dtype.type(0)
    for p in range(a0.size):
        c00 += a0[p] * b0[p]
        c01 += a0[p] * b1[p]
        c02 += a0[p] * b2[p]
        c10 += a1[p] * b0[p]
        c11 += a1[p] * b1[p]
        c12 += a1[p] * b2[p]
        c20 += a2[p] * b0[p]
        c21 += a2[p] * b1[p]
        c22 += a2[p] * b2[p]
        c30 += a3[p] * b0[p]
        c31 += a3[p] * b1[p]
        c32 += a3[p] * b2[p]
    c[0, 0], c[0, 1], c[0, 2] = c00, c01, c02
    c[1, 0], c[1, 1], c[1, 2] = c10, c11, c12
    c[2, 0], c[2, 1], c[2, 2] = c20, c21, c22
    c[3, 0], c[3, 1], c[3, 2] = c30, c31, c32


# A piece of work for another thread must be worth the 100 µs or so that it takes to wake one.
_LEAST_FLOPS = 8_000_000


def parallel(a: Array, b: Array, c: Array) -> None:
    """The register-tiled product on all cores: each thread takes blocks of c until there are none left.

    c is cut into columns as wide as register_tiled's blocks of b, so that nothing is packed twice, and into rows, until
    every thread has a few blocks. No two threads write the same memory, and the compiled kernel holds no GIL, so plain
    Python threads run it (threads.py says why not `prange`). For a few rows packing b costs more than multiplying by
    it: b's rows stream past once, in the order p, i, j. What limits it: waking a thread takes some 100 µs, so products
    below 160 x 160 stay on one core; and all cores share one L3 cache, one memory, and often a lower clock.
    """
    m, n = c.shape
    pieces, cols = pieces_and_cols(a.shape[0], n, a.shape[1], c.itemsize)
    if pieces == 1:
        fill_columns(a, b, c, 0, n)
        return
    wide = -(-n // cols)
    rows = max(m * wide // pieces // _TILE_ROWS, 1) * _TILE_ROWS

    def block(index: int, _: int) -> None:
        i, j = index // wide * rows, index % wide * cols
        fill_columns(a[i : i + rows], b, c[i : i + rows], j, min(j + cols, n))

    share(block, -(-m // rows) * wide, 1)


def pieces_and_cols(m: int, n: int, depth: int, itemsize: int) -> tuple[int, int]:
    """In how many pieces to share a product, m x depth times depth x n, and how many columns to do at a time."""
    pieces = max(min(2 * num_threads(), 2 * m * n * depth // _LEAST_FLOPS), 1)
    in_equal_parts = max(-(-n // pieces), 1)
    return pieces, in_equal_parts if m < _FEW_ROWS else min(in_equal_parts, _tile_sizes.py_func(itemsize)[1])


def fill_columns(a: Array, b: Array, c: Array, start: int, stop: int) -> None:
    """The columns of c = a · b from `start` to `stop`: register-tiled, or without packing where a has few rows."""
    if a.shape[0] < _FEW_ROWS and b.flags.c_contiguous:
        _stream_rows_of_b(a, b, c, start, stop)
    else:
        register_tiled(a, b[:, start:stop], c[:, start:stop])


_FEW_ROWS = 16  # measured: from here on packing pays


@compiled(any_strides=("a",))
def _stream_rows_of_b(a: Array, b: Array, c: Array, start: int, stop: int) -> None:
    m, k = a.shape
    for i in range(m):
        for j in range(start, stop):
            c[i, j] = 0
    for p in range(k):
        b_row = b[p, start:stop]
        for i in range(m):
            a_ip = a[i, p]
            c_row = c[i, start:stop]
            for j in range(b_row.size):
                c_row[j] += a_ip * b_row[j]


@functools.cache
def _floats_of(name: str) -> Array:
    """The float32 of each number of 16 bits, by its bits."""
    return np.arange(1 << 16, dtype=np.uint16).view(dtype_called(name)).astype(np.float32)


@compiled(any_strides=("x",))
def _widen(x: Array, floats: Array, wide: Array) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            wide[i, j] = floats[x[i, j]]


@compiled(any_strides=("a",))
def _multiply_bytes(a: Array, b: Array, c: Array) -> None:
    m, k = a.shape
    for i in range(m):
        c_row = c[i]
        for j in range(c_row.size):
            c_row[j] = 0
        for p in range(k):
            a_ip = np.int32(a[i, p])
            b_row = b[p]
            for j in range(c_row.size):
                c_row[j] += a_ip * np.int32(b_row[j])


def upcast(a: Array, b: Array, *scales_and_c: Array) -> None:
    """Reduced precision: a table turns the bits of bfloat16 and float16 into float32, which the best rung multiplies.

    Numba knows neither dtype, but it reads their 16 bits as an index: a table of all 65,536 numbers, 256 KiB, has the
    float32 of each. Then parallel multiplies, and NumPy rounds the result. For bytes it is the loops of reordered on
    32-bit integers, whose sums wrap as int32 does. What limits it: parallel's float32, or for bytes one multiply of 32
    bits an element, where the processor has instructions for pairs and quads of smaller ones.
    """
    *scales, c = scales_and_c
    if a.dtype == np.int8:
        sums = np.empty(c.shape, np.int32) if scales else c
        _multiply_bytes(a, b, sums)
        if scales:
            c[...] = scaled(sums, *scales)
        return
    wide_a, wide_b = np.empty(a.shape, np.float32), np.empty(b.shape, np.float32)
    for x, wide in ((a, wide_a), (b, wide_b)):
        _widen(x.view(np.uint16), _floats_of(a.dtype.name), wide)
    wide_c = c if c.dtype == np.float32 else np.empty(c.shape, np.float32)
    parallel(wide_a, wide_b, wide_c)
    if wide_c is not c:
        c[...] = rounded_to(c.dtype, wide_c)


RUNGS = {
    "matmul": [
        NUMBA.rung(naive, faster_than=("python.reordered", "numpy.naive")),
        NUMBA.rung(reordered, faster_than="numba.naive"),
        NUMBA.rung(blocked),
        NUMBA.rung(register_tiled, faster_than=("numba.reordered", "numba.blocked")),
        NUMBA.rung(parallel, faster_than="numba.register_tiled"),
        NUMBA.rung(upcast, dtypes=REDUCED, faster_than="python.upcast"),
    ]
}
