"""dot, sum, add, transpose and linear in NumPy: Python loops over arrays, then calls for whole arrays."""

import numpy as np

from ...arrays import HALVES, Array
from ...backends import NUMPY
from ...numerics import rounded_to


def dot_one_accumulator(x: Array, y: Array, result: Array) -> None:
    """A Python loop over array elements: slower than over a list's.

    Each x[i] makes a new NumPy scalar, whose arithmetic goes through NumPy's general machinery. Arrays are made for
    whole operations and are the slowest way to hold single numbers.
    """
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    result[()] = total


def dot_dot(x: Array, y: Array, result: Array) -> None:
    """One call: NumPy hands vectors with an even stride to its BLAS library's dot.

    BLAS keeps several sums in vector registers. In L1 the limit is the two loads of each product, beyond it the caches'
    bandwidth. For long vectors OpenBLAS shares the work among threads.
    """
    np.dot(x, y, out=result)


def sum_scalar(a: Array, result: Array) -> None:
    """A Python loop over array elements, row by row. The limit is the interpreter."""
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j]
    result[()] = total


def sum_column_wise(a: Array, result: Array) -> None:
    """One NumPy call a column: each steps down its column with the stride of a row.

    Every element of a column of a row-major matrix lies on a cache line of its own. Only one element of the line is
    used before the next column comes.
    """
    total = a.dtype.type(0)
    for j in range(a.shape[1]):
        total += a[:, j].sum()
    result[()] = total


def sum_row_wise(a: Array, result: Array) -> None:
    """One NumPy call a row: the elements are neighbours, and a cache line is used whole.

    Within a row the loop is compiled; between rows it is Python's, about a microsecond a row, which is the limit
    for short rows.
    """
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += a[i].sum()
    result[()] = total


def sum_sum(a: Array, result: Array) -> None:
    """One call for all elements, which NumPy adds pairwise.

    It splits the array in halves down to blocks of 128, which it adds with eight running sums: the error grows with
    log n instead of n (Higham, Accuracy and Stability of Numerical Algorithms, §4.2), and the eight sums go into
    vector registers. The limit is the memory's bandwidth for large arrays.
    """
    np.sum(a, out=result)


def add_scalar(a: Array, b: Array, c: Array) -> None:
    """A Python loop over array elements; three index expressions each make a tuple and a scalar."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            c[i, j] = a[i, j] + b[i, j]


def add_vectorized(a: Array, b: Array, c: Array) -> None:
    """One call: a compiled loop with vector instructions for rows without gaps. Bound by memory."""
    np.add(a, b, out=c)


def transpose_naive(a: Array, b: Array) -> None:
    """A Python loop over array elements; index expressions cost a hundred times the move."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            b[j, i] = a[i, j]


def transpose_copy(a: Array, b: Array) -> None:
    """One assignment from the transposed view: NumPy walks one side with the stride of a row.

    a.T costs nothing, as only strides are exchanged; the copy then uses one element of each cache line on one of its
    sides, and comes back for the next after the line may have left the cache.
    """
    b[...] = a.T


def transpose_blocked(a: Array, b: Array) -> None:
    """The same assignment by square blocks that fit in the cache.

    Within a block of 64 the lines of the strided side stay in L1 until all of their elements are used. A Python
    iteration a block costs about a microsecond, a quarter of a nanosecond an element, so for small matrices it loses.
    """
    block = 64
    for i in range(0, a.shape[0], block):
        for j in range(0, a.shape[1], block):
            b[j : j + block, i : i + block] = a[i : i + block, j : j + block].T


def linear_composed(x: Array, w: Array, b: Array, y: Array) -> None:
    """BLAS for the product, then a second pass over the result for the bias: much for small k."""
    np.matmul(x, w, out=y)
    np.add(y, b, out=y)


def linear_upcast(x: Array, w: Array, b: Array, y: Array) -> None:
    """Reduced precision: copies in float32, the same two passes on them, and one rounding. The limit is BLAS."""
    wide = np.empty(y.shape, np.float32)
    linear_composed(x.astype(np.float32), w.astype(np.float32), b.astype(np.float32), wide)
    y[...] = rounded_to(y.dtype, wide)


RUNGS = {
    "dot": [
        NUMPY.rung(dot_one_accumulator, "one_accumulator"),
        NUMPY.rung(dot_dot, "dot", faster_than="numpy.one_accumulator"),
    ],
    "sum": [
        NUMPY.rung(sum_scalar, "scalar"),
        NUMPY.rung(sum_column_wise, "column_wise", study=True),
        NUMPY.rung(sum_row_wise, "row_wise", faster_than="numpy.scalar"),
        NUMPY.rung(sum_sum, "sum", faster_than="numpy.scalar"),
    ],
    "add": [NUMPY.rung(add_scalar, "scalar"), NUMPY.rung(add_vectorized, "vectorized", faster_than="numpy.scalar")],
    "transpose": [
        NUMPY.rung(transpose_naive, "naive"),
        NUMPY.rung(transpose_copy, "copy", faster_than="numpy.naive"),
        NUMPY.rung(transpose_blocked, "blocked"),
    ],
    "linear": [
        NUMPY.rung(linear_composed, "composed"),
        NUMPY.rung(linear_upcast, "upcast", dtypes=HALVES, faster_than="python.upcast"),
    ],
}
