"""matmul in NumPy: from Python loops over arrays to one call into its BLAS library."""

import numpy as np

from ...arrays import Array
from ...backends import NUMPY


def naive(a: Array, b: Array, c: Array) -> None:
    """The triple loop over array elements: slower than the same loop over lists.

    Each a[i, p] makes a tuple of indices, finds the element by the strides and wraps it in a new scalar object of
    NumPy's, so an element costs several times what a list's does. Arrays pay off when an operation takes many elements
    at once; one at a time they are the slowest container that Python has.
    """
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            c_ij = a.dtype.type(0)
            for p in range(k):
                c_ij += a[i, p] * b[p, j]
            c[i, j] = c_ij


def rows(a: Array, b: Array, c: Array) -> None:
    """One NumPy call a row of the result: c[i, :] = a[i, :] · b.

    The loops over j and p are compiled code now, and the interpreter's cost is paid once a row instead of once a
    product. But each row of c streams the whole of b through the caches for 2 operations an element: it is bound by
    memory as soon as b outgrows a cache level, since no element of b is used twice while it is near.
    """
    for i in range(a.shape[0]):
        np.matmul(a[i], b, out=c[i])


def matmul(a: Array, b: Array, c: Array) -> None:
    """One call for the whole product: NumPy hands it to its BLAS library (OpenBLAS, MKL or Accelerate).

    That library packs blocks of a and b that fit the caches, multiplies them with a kernel written for the processor's
    vector registers, and shares the work among threads. NumPy passes row-major and column-major operands as they are;
    any other stride it copies first into a buffer of its own, which is its choice and not this package's.
    """
    np.matmul(a, b, out=c)


RUNGS = {
    "matmul": [
        NUMPY.rung(naive),
        NUMPY.rung(rows, faster_than=("numpy.naive", "python.reordered")),
        NUMPY.rung(matmul, faster_than="numpy.rows"),
    ],
}
