"""matmul in pure Python: lists and loops, to read and to check by hand.

Both rungs first make lists of the arrays (`tolist`), so that the loops see only Python's floats. These are float64
whatever the arrays' dtype; the result is rounded once, when it is stored.
"""

import numpy as np

from ...arrays import REDUCED, Array
from ...backends import PYTHON
from ...numerics import rounded_to, scaled


def naive(a: Array, b: Array, c: Array) -> None:
    """The definition: c[i][j] is the sum over p of a[i][p] · b[p][j].

    Each of the 2·m·k·n operations is a few bytecodes. A bytecode looks up the types of its operands, calls a function
    for them, and allocates a float object for the result: some 60 ns for a product and a sum that take the processor a
    fraction of a nanosecond. The effects of memory layout are too small to see here.
    """
    a_rows, b_rows = a.tolist(), b.tolist()
    m, k, n = len(a_rows), b.shape[0], b.shape[1]
    c_rows = [[0.0] * n for _ in range(m)]
    for i in range(m):
        for j in range(n):
            for p in range(k):
                c_rows[i][j] += a_rows[i][p] * b_rows[p][j]
        c[i] = c_rows[i]


def reordered(a: Array, b: Array, c: Array) -> None:
    """The same products row by row: c[i] += a[i][p] · b[p], with the row loop left to a list comprehension.

    The loops are now i, p, j: the innermost walks one row of b and one row of c, and `zip` needs no index expression.
    The interpreter's multiply and add remain, about a third of the time. The limit is the interpreter itself: one
    number at a time, each an object on the heap.
    """
    a_rows, b_rows = a.tolist(), b.tolist()
    for i, a_row in enumerate(a_rows):
        c_row = [0.0] * b.shape[1]
        for a_ip, b_row in zip(a_row, b_rows, strict=True):
            c_row = [c_ij + a_ip * b_pj for c_ij, b_pj in zip(c_row, b_row)]  # noqa: B905 - strict costs time here
        c[i] = c_row


def upcast(a: Array, b: Array, *scales_and_c: Array) -> None:
    """Reduced precision: the products of reordered, whose numbers are wider anyway, and one rounding at the end.

    Python has one float, of 64 bits, and integers of any length. So `tolist` widens what it reads, whatever its dtype,
    and the sums are as good as exact. An element of the result is rounded to bfloat16 or float16 once; an int32 that is
    too small for its sum keeps the lower 32 bits. Nothing is won by the narrower numbers: Python's take 24 bytes each.
    """
    *scales, c = scales_and_c
    wide = np.zeros(c.shape)
    reordered(a, b, wide)
    c[...] = rounded_to(c.dtype, scaled(wide, *scales))


RUNGS = {
    "matmul": [
        PYTHON.rung(naive),
        PYTHON.rung(reordered, faster_than="python.naive"),
        PYTHON.rung(upcast, dtypes=REDUCED),
    ]
}
