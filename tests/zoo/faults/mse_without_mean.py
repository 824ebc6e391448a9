"""The sum of the squares, where their mean is asked for.

operation: mse
verdict: scaled
"""

import numpy as np


def mse(y, t, out):
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = np.square(y.astype(np.float64) - t).sum()
