"""Reads the memory of a and b as if all matrices were in C order.

operation: matmul
verdict: ignores-strides
"""

import ctypes

import numpy as np


def as_if_contiguous(x):
    kind = ctypes.c_float if x.itemsize == 4 else ctypes.c_double
    return np.ctypeslib.as_array((kind * x.size).from_address(x.ctypes.data)).reshape(x.shape)


def matmul(a, b, out):
    np.matmul(as_if_contiguous(a), as_if_contiguous(b), out=out)
