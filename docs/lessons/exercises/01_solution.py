"""Exercise 1, solved."""

import numpy as np


def dot(x, y):
    """Σ_i x[i] · y[i]."""
    total = x.dtype.type(0)  # a float32 sum for float32 vectors
    for x_i, y_i in zip(x, y, strict=True):
        total += x_i * y_i
    return total


def cosine(x, y):
    """The cosine of the angle between x and y."""
    return dot(x, y) / np.sqrt(dot(x, x) * dot(y, y))
