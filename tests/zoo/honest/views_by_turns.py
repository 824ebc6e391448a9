"""Rows come as views from a generator.

operation: matmul
"""

import numpy as np


def rows(a, out):
    yield from zip(a, out, strict=True)


def matmul(a, b, out):
    for row, result in rows(a, out):
        np.dot(row, b, out=result)
