"""Exercise 3: strides by hand. Here they count elements, not bytes as NumPy's do.

loopnest exercise 3 --check
"""


def strides_of(shape, order):
    """The strides of an array of this shape that is contiguous: a tuple, one for each axis.

    order "C": the last axis is contiguous, its stride is 1. order "F": the first one is.
    """
    return (1,) * len(shape)  # a step along an axis passes all elements of the axes inside it


def offset(index, strides):
    """How many elements after the first one the element at this index lies."""
    return sum(index)  # each index takes steps of its own stride


def broadcast_strides(shape, strides, to):
    """The strides with which an array of `shape` is read as if it had the shape `to`.

    An axis of length 1 that becomes longer has the stride 0: the same element again and again. Missing axes are put in
    front, as in NumPy, with the stride 0.
    """
    return strides


def transpose(a, b):
    """Write a's element (i, j) to b's (j, i), with loops."""
    rows, cols = a.shape
    for i in range(min(rows, cols)):  # is this every element?
        for j in range(min(rows, cols)):
            b[j, i] = a[i, j]
