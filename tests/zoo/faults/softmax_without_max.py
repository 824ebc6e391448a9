"""softmax without taking off the largest first: exp(1000) is infinite, and infinity by infinity is NaN.

operation: softmax
verdict: overflows
"""

import numpy as np


def softmax(x, out):
    with np.errstate(over="ignore", invalid="ignore"):
        np.exp(x, out=out)
        out /= out.sum(axis=-1, keepdims=True)
