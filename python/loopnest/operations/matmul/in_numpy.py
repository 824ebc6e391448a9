"""matmul in NumPy: from Python loops over arrays to one call into its BLAS library."""

import numpy as np

from ...arrays import REDUCED, Array
from ...backends import NUMPY
from ...numerics import rounded_to, scaled


def naive(a: Array, b: Array, c: Array) -> None:
    """The triple loop over array elements: slower than the same loop over lists.

    Each a[i, p] makes a tuple of indices, finds the element by the strides and wraps it in a new NumPy scalar: several
    times the cost of a list's element. Arrays pay off when an operation takes many elements at once; one at a time they
    are Python's slowest container.
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
    product. But each row of c streams all of b through the caches for 2 operations an element. No element of b is used
    twice while it is near, so the product is bound by memory as soon as b outgrows a cache level.
    """
    for i in range(a.shape[0]):
        np.matmul(a[i], b, out=c[i])


def matmul(a: Array, b: Array, c: Array) -> None:
    """One call for the whole product: NumPy hands it to its BLAS library (OpenBLAS, MKL or Accelerate).

    The library packs blocks of a and b that fit the caches, multiplies them with a micro-kernel written for the
    processor's vector registers, and shares the work among threads. NumPy passes row-major and column-major operands as
    they are, and copies operands with other strides first.
    """
    np.matmul(a, b, out=c)


def upcast(a: Array, b: Array, *scales_and_c: Array) -> None:
    """Reduced precision: copies in a wide dtype, one call of BLAS, and one rounding.

    BLAS has no bfloat16, float16 or int8; NumPy's own loops for float16 and integers multiply one element at a time.
    Three passes over memory and a product of float32 are faster by far. Bytes become float64: a product of two has 15
    bits, so float64 adds 2^38 of them exactly, where float32 may round from the 1025th on. It costs float32's time for
    the bfloat16s, twice as much for bytes, and the memory of the wide copies.
    """
    *scales, c = scales_and_c
    wide = np.float64 if a.dtype == np.int8 else np.float32
    c[...] = rounded_to(c.dtype, scaled(np.matmul(a.astype(wide), b.astype(wide)), *scales))


RUNGS = {
    "matmul": [
        NUMPY.rung(naive),
        NUMPY.rung(rows, faster_than=("numpy.naive", "python.reordered")),
        NUMPY.rung(matmul, faster_than="numpy.rows"),
        NUMPY.rung(upcast, dtypes=REDUCED, faster_than="python.upcast"),
    ]
}
