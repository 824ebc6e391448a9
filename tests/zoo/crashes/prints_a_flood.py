"""Prints what it does, element by element, without end.

operation: matmul
verdict: prints-a-flood
"""

import numpy as np


def matmul(a, b, out):
    for _ in range(100):
        print("computing an element of the matrix product\n" * 20_000)
    np.matmul(a, b, out=out)
