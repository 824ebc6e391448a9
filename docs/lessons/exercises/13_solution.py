"""Exercise 13, solved."""

import numpy as np


def quantize_rows(x):
    """Bytes and scales. np.rint rounds to the nearest; a cast would cut off."""
    scales = np.abs(x).max(axis=1, initial=0) / 127
    scales[scales == 0] = 1
    return np.rint(x / scales[:, None]).astype(np.int8), scales


def product(x, w):
    """The columns of w are the rows of its transpose. Sums have 32 bits."""
    q, scale_x = quantize_rows(x)
    v, scale_w = quantize_rows(w.T)
    sums = q.astype(np.int32) @ v.astype(np.int32).T
    return sums * scale_x[:, None] * scale_w
