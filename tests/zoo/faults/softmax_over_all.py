"""softmax over the whole matrix in place of each row.

operation: softmax
verdict: wrong-values
"""

import numpy as np


def softmax(x, out):
    with np.errstate(invalid="ignore"):
        if x.size:
            np.exp(x - x.max(), out=out)
            out /= out.sum()
