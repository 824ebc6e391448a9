"""dot, sum, add, transpose and linear in Numba: what the compiler may reorder, and what the memory allows."""

import math

import numpy as np

from ..._core import cache_sizes
from ...arrays import HALVES, Array
from ...backends import NUMBA
from ...backends.numba import compiled, helper
from ...backends.threads import share, share_elements
from ...numerics import rounded_to
from ..matmul.in_numba import upcast

_L1 = cache_sizes()[0]


@compiled
def dot_one_accumulator(x: Array, y: Array, result: Array) -> None:
    """The definition: one sum, to which each product is added in turn.

    Every addition waits 3 or 4 cycles for the one before, in which the processor could begin several multiply-adds:
    bound by latency. The compiler may not help, since another order of additions would round to another result.
    """
    total = result.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    result[()] = total


@compiled
def dot_many_accumulators(x: Array, y: Array, result: Array) -> None:
    """Eight sums at once: 8 = 2 multiply-adds started a cycle x 4 cycles of latency.

    The eight chains overlap, so the limit is throughput: two loads and a multiply-add for every element, one element at
    a time, since Numba runs LLVM without its vectorizer of straight-line code (SLP). The text fixes the order of the
    sums, and the result is the same on every machine.
    """
    T = result.dtype.type
    s0, s1, s2, s3, s4, s5, s6, s7 = T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0)
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        s0 += x[i] * y[i]
        s1 += x[i + 1] * y[i + 1]
        s2 += x[i + 2] * y[i + 2]
        s3 += x[i + 3] * y[i + 3]
        s4 += x[i + 4] * y[i + 4]
        s5 += x[i + 5] * y[i + 5]
        s6 += x[i + 6] * y[i + 6]
        s7 += x[i + 7] * y[i + 7]
    for i in range(whole, x.size):
        s0 += x[i] * y[i]
    result[()] = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@compiled(reorder_sums=True)
def dot_vectorized(x: Array, y: Array, result: Array) -> None:
    """The definition again, with leave to reorder the additions: LLVM keeps many sums in vector registers.

    The flag `reassoc` lets LLVM do what many_accumulators wrote by hand, and more: four vectors of 4, 8 or 16 sums. It
    does not touch NaN or infinity, which -ffast-math would. The limit is two loads for each multiply-add, and beyond L2
    memory.
    """
    total = result.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    result[()] = total


# The fewest elements that are worth another thread. Waking one takes some 100 µs, in which one core adds about this
# number of elements from L2.
_LEAST = 1 << 19


def dot_parallel(x: Array, y: Array, result: Array) -> None:
    """The vectorized sum on all cores: each core sums pieces of its own, and their sums are added at the end.

    It pays for vectors larger than one core's caches. The pieces have a fixed size, so the result does not depend on
    the number of threads.
    """
    if x.size < 2 * _LEAST:
        dot_vectorized(x, y, result)
        return
    pieces = np.empty((1, -(-x.size // _LEAST)), result.dtype)

    def piece(start: int, stop: int) -> None:
        dot_vectorized(x[start:stop], y[start:stop], pieces[0, start // _LEAST, ...])

    share(piece, x.size, _LEAST)
    sum_vectorized(pieces, result)


@compiled
def sum_column_wise(a: Array, result: Array) -> None:
    """One sum down the columns: against the order of a row-major matrix.

    A cache line of 16 floats is fetched for one of them, and a whole column of other lines passes before the next
    column needs its neighbour. Rows that are a power of two bytes long make it worse: a column's lines then share few
    places.
    """
    total = result.dtype.type(0)
    for j in range(a.shape[1]):
        for i in range(a.shape[0]):
            total += a[i, j]
    result[()] = total


@compiled
def sum_row_wise(a: Array, result: Array) -> None:
    """One sum along the rows, in the order of memory. Each addition waits 3 or 4 cycles: the limit."""
    total = result.dtype.type(0)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j]
    result[()] = total


@compiled
def sum_many_accumulators(a: Array, result: Array) -> None:
    """Eight sums at once, as in dot: the limit is the number of instructions, not an addition's latency."""
    T = result.dtype.type
    s0, s1, s2, s3, s4, s5, s6, s7 = T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0)
    whole = a.shape[1] // 8 * 8
    for i in range(a.shape[0]):
        for j in range(0, whole, 8):
            s0 += a[i, j]
            s1 += a[i, j + 1]
            s2 += a[i, j + 2]
            s3 += a[i, j + 3]
            s4 += a[i, j + 4]
            s5 += a[i, j + 5]
            s6 += a[i, j + 6]
            s7 += a[i, j + 7]
        for j in range(whole, a.shape[1]):
            s0 += a[i, j]
    result[()] = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@compiled(reorder_sums=True)
def sum_vectorized(a: Array, result: Array) -> None:
    """The plain loop along the rows; LLVM may reorder the additions.

    Four vector registers of sums overlap their additions. Rows that are not contiguous stay scalar. The limit is one
    load an addition: the cache's bandwidth, and beyond L2 the memory's.
    """
    total = result.dtype.type(0)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j]
    result[()] = total


@compiled
def add_vectorized(a: Array, b: Array, c: Array) -> None:
    """Two loops over rows and columns, one addition an element.

    If all three arrays are in C order, LLVM vectorizes the inner loop, after a check at run time that the result does
    not overlap the inputs. Beyond L2 the memory bus is the limit: three arrays cross it for one addition an element.
    """
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = a[i, j] + b[i, j]


def add_parallel(a: Array, b: Array, c: Array) -> None:
    """The same loop on all cores; up to a million elements, not worth the 100 µs of waking a thread, on one."""
    share_elements(add_vectorized, _LEAST, a, b, c)


@compiled(any_strides=("a",))
def transpose_naive(a: Array, b: Array) -> None:
    """Row by row of a, which is column by column of the result: b[j, i] = a[i, j].

    No arithmetic, only moves. Each element is stored to another row of the result: the store fetches a cache line and
    changes 4 or 8 bytes of its 64. When the next row of a needs the neighbouring bytes, the line may be gone, surely so
    if rows are a power of two bytes apart.
    """
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            b[j, i] = a[i, j]


@helper
def _tile_side(itemsize: int) -> int:
    """A tile fills up to half of L1 with whole cache lines: its side is a multiple of 16 floats, 64 bytes."""
    return max(int(math.sqrt(_L1 // 2 // itemsize)) // 16 * 16, 16)


@compiled
def transpose_blocked(a: Array, b: Array) -> None:
    """Square tiles through a small buffer: rows in, columns out, every cache line used whole.

    A tile of a is copied row by row into a buffer in L1, and from there column by column into rows of the result, so
    each byte crosses from memory once. The buffer's rows are one element longer than the tile, so that a column's
    elements lie in different places of the cache. What limits it: elements leave the buffer one by one, although vector
    instructions could transpose 8 x 8 of them in registers; and beyond L2 memory.
    """
    m, n = a.shape
    side = _tile_side(b.itemsize)
    tile = np.empty((side, side + 1), b.dtype)
    for i0 in range(0, m, side):
        for j0 in range(0, n, side):
            height, width = min(side, m - i0), min(side, n - j0)
            for i in range(height):
                row = a[i0 + i, j0 : j0 + width]
                for j in range(row.size):
                    tile[i, j] = row[j]
            for j in range(width):
                row = b[j0 + j, i0 : i0 + height]
                for i in range(row.size):
                    row[i] = tile[i, j]


@compiled(any_strides=("x", "b"))
def linear_fused(x: Array, w: Array, b: Array, y: Array) -> None:
    """matmul's reordered loops, on a result that starts from the bias instead of from zero.

    So the bias costs no pass of its own. The limits are matmul's `reordered`'s: loads and stores, and a w that streams
    past once for every row of x.
    """
    m, k = x.shape
    n = w.shape[1]
    for i in range(m):
        for j in range(n):
            y[i, j] = b[j]
        for p in range(k):
            x_ip = x[i, p]
            for j in range(n):
                y[i, j] += x_ip * w[p, j]


def linear_upcast(x: Array, w: Array, b: Array, y: Array) -> None:
    """Reduced precision: matmul's upcast leaves float32 sums, NumPy adds the bias and rounds. The limit is upcast's."""
    wide = np.empty(y.shape, np.float32)
    upcast(x, w, wide)
    wide += b.astype(np.float32)
    y[...] = rounded_to(y.dtype, wide)


RUNGS = {
    "dot": [
        NUMBA.rung(dot_one_accumulator, "one_accumulator"),
        NUMBA.rung(dot_many_accumulators, "many_accumulators", faster_than="numba.one_accumulator"),
        NUMBA.rung(dot_vectorized, "vectorized", faster_than="numba.one_accumulator"),
        NUMBA.rung(dot_parallel, "parallel"),
    ],
    "sum": [
        NUMBA.rung(sum_column_wise, "column_wise", study=True),
        NUMBA.rung(sum_row_wise, "row_wise"),
        NUMBA.rung(sum_many_accumulators, "many_accumulators", faster_than="numba.row_wise"),
        NUMBA.rung(sum_vectorized, "vectorized", faster_than="numba.row_wise"),
    ],
    "add": [NUMBA.rung(add_vectorized, "vectorized"), NUMBA.rung(add_parallel, "parallel")],
    "transpose": [
        NUMBA.rung(transpose_naive, "naive"),
        NUMBA.rung(transpose_blocked, "blocked", faster_than="numba.naive"),
    ],
    "linear": [
        NUMBA.rung(linear_fused, "fused"),
        NUMBA.rung(linear_upcast, "upcast", dtypes=HALVES, faster_than="python.upcast"),
    ],
}
