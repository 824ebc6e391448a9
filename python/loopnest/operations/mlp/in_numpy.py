"""The MLP in NumPy: products by BLAS, and passes over the hidden layer between them."""

import numpy as np

from ...arrays import HALVES, Array
from ...backends import NUMPY
from ...numerics import rounded_to
from ..gelu.in_numpy import gelu_backward_vectorized, gelu_vectorized
from ..linalg.in_numpy import linear_composed, linear_upcast


def mlp_forward_composed(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """linear, gelu, linear, each by its own ladder's rung.

    The products run at BLAS speed. gelu's passes have little arithmetic, but each carries the (t, h) hidden layer
    through the caches: at 128 tokens of GPT-2 small's sizes they take about as long as the products.
    """
    linear_composed(x, w1, b1, z)
    gelu_vectorized(z, h, tanh_form)
    linear_composed(h, w2, b2, y)


def mlp_forward_upcast(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """Reduced precision: copies in float32, GELU on their sums, and one rounding each for z, h and y."""
    wide, hidden = np.empty(z.shape, np.float32), np.empty(h.shape, np.float32)
    linear_composed(x.astype(np.float32), w1.astype(np.float32), b1.astype(np.float32), wide)
    gelu_vectorized(wide, hidden, tanh_form)
    z[...], h[...] = rounded_to(z.dtype, wide), rounded_to(h.dtype, hidden)
    linear_upcast(h, w2, b2, y)


def mlp_backward_composed(
    dy: Array, x: Array, w1: Array, w2: Array, z: Array, h: Array,
    dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array, tanh_form: bool,
) -> None:  # fmt: skip
    """The chain rule from the end back: four products on transposed views, which BLAS takes as they are.

    dh and dz are scratch memory of z's size. gelu's slope takes some 20 passes over them; the products take the rest of
    the time, and the bias gradients a pass each.
    """
    dh, dz = np.empty_like(z), np.empty_like(z)
    np.matmul(h.T, dy, out=dw2)
    np.sum(dy, axis=0, out=db2)
    np.matmul(dy, w2.T, out=dh)
    gelu_backward_vectorized(z, dh, dz, tanh_form)
    np.matmul(x.T, dz, out=dw1)
    np.sum(dz, axis=0, out=db1)
    np.matmul(dz, w1.T, out=dx)


RUNGS = NUMPY.rungs("composed", mlp_forward=mlp_forward_composed, mlp_backward=mlp_backward_composed)
RUNGS["mlp_forward"].append(NUMPY.rung(mlp_forward_upcast, "upcast", dtypes=HALVES, faster_than="python.upcast"))
