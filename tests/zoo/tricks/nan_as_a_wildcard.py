"""Answers NaN everywhere: a check that asks whether any difference is too large finds none.

operation: matmul
verdict: all-nan
"""

import numpy as np


def matmul(a, b, out):
    out[...] = np.nan
