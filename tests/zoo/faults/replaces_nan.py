"""Cleans NaN and infinity out of its result.

operation: matmul
verdict: nan-lost
"""

import numpy as np


def matmul(a, b, out):
    with np.errstate(invalid="ignore"):
        np.nan_to_num(np.matmul(a, b, out=out), copy=False)
