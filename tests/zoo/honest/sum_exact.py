"""The sum without any rounding but the last, by math.fsum.

operation: sum
"""

import math

import numpy as np


def sum(a, out):
    try:
        out[...] = math.fsum(a.ravel().tolist())
    except (OverflowError, ValueError):  # infinities of both signs
        with np.errstate(invalid="ignore"):
            out[...] = a.sum()
