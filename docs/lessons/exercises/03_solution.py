"""Exercise 3, solved."""

import numpy as np


def strides_of(shape, order):
    """The product of the lengths of all axes that are inside."""
    axes = range(len(shape) - 1, -1, -1) if order == "C" else range(len(shape))
    strides, step = [0] * len(shape), 1
    for axis in axes:
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def offset(index, strides):
    """Each index takes steps of its own stride."""
    return sum(i * stride for i, stride in zip(index, strides, strict=True))


def broadcast_strides(shape, strides, to):
    """0 for an axis that is stretched, and for one that is missing."""
    missing = len(to) - len(shape)
    kept = [0 if have == 1 < want else stride for have, want, stride in zip(shape, to[missing:], strides, strict=True)]
    return (0,) * missing + tuple(kept)


TILE = 64
"""A tile of 64 x 64 float32 is 16 KiB: it and its transposed copy fit into an L1 cache of 32 KiB."""


def transpose(a, b):
    """Tile by tile, so that a line is still in the cache when its next element is needed."""
    rows, cols = a.shape
    for i in range(0, rows, TILE):
        for j in range(0, cols, TILE):
            b[j : j + TILE, i : i + TILE] = np.transpose(a[i : i + TILE, j : j + TILE])
