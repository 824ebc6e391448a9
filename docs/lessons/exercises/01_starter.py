"""Exercise 1: the dot product, and how similar two vectors are.

x and y are NumPy arrays of one axis and of the same length. Use a loop; sqrt is the only NumPy function that you need.

    loopnest exercise 1 --check
"""

import numpy as np


def dot(x, y):
    """Σ_i x[i] · y[i]; 0 for vectors without elements."""
    return x[0] * y[0]  # this is only the first product: add up all of them


def cosine(x, y):
    """The cosine of the angle between x and y: their dot product, divided by both lengths.

    The length of x is sqrt(dot(x, x)).
    """
    return dot(x, y) / np.sqrt(1.0)  # divide by the lengths
