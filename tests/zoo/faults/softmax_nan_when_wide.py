"""softmax that takes another path for more than 64 columns, on which NaN becomes 0.

operation: softmax
verdict: nan-lost
"""

import numpy as np


def softmax(x, out):
    if x.shape[-1] > 64:
        x = np.nan_to_num(x)
    e = np.exp(x - x.max(axis=-1, keepdims=True)) if x.size else x
    out[...] = e / e.sum(axis=-1, keepdims=True)
