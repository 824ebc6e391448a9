"""The MLP in pure Python: composed of this package's own Python rungs.

forward    z = x w1 + b1      h = gelu(z)      y = h w2 + b2
backward   dh = dy w2ᵀ        dz = dh ⊙ gelu'(z)
           dx = dz w1ᵀ        dw1 = xᵀ dz      db1 = Σ dz        dw2 = hᵀ dy      db2 = Σ dy
"""

import numpy as np

from ...arrays import HALVES, Array
from ...backends import PYTHON
from ...numerics import rounded_to
from ..gelu.in_python import gelu_backward_scalar, gelu_scalar
from ..linalg.in_python import linear_composed, linear_upcast
from ..matmul.in_python import reordered


def mlp_forward_composed(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """linear, gelu, linear, each by its own ladder's rung. The limit is the interpreter."""
    linear_composed(x, w1, b1, z)
    if z.size:
        gelu_scalar(z, h, tanh_form)
    linear_composed(h, w2, b2, y)


def mlp_forward_upcast(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """Reduced precision: Python's floats are wider anyway, and z, h and y are rounded once each."""
    wide, hidden = np.zeros(z.shape), np.zeros(h.shape)
    linear_composed(x, w1, b1, wide)
    if z.size:
        gelu_scalar(wide, hidden, tanh_form)
    z[...], h[...] = rounded_to(z.dtype, wide), rounded_to(h.dtype, hidden)
    linear_upcast(h, w2, b2, y)


def _column_sums(a: Array, sums: Array) -> None:
    rows = a.tolist()
    sums[...] = [sum(column) for column in zip(*rows, strict=True)] if rows else 0


def mlp_backward_composed(
    dy: Array, x: Array, w1: Array, w2: Array, z: Array, h: Array,
    dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array, tanh_form: bool,
) -> None:  # fmt: skip
    """Four products on transposed views, and the bias gradients' sums. The limit is the interpreter."""
    dh, dz = np.empty_like(z), np.empty_like(z)
    reordered(h.T, dy, dw2)
    _column_sums(dy, db2)
    reordered(dy, w2.T, dh)
    if z.size:
        gelu_backward_scalar(z, dh, dz, tanh_form)
    reordered(x.T, dz, dw1)
    _column_sums(dz, db1)
    reordered(dz, w1.T, dx)


RUNGS = PYTHON.rungs("composed", mlp_forward=mlp_forward_composed, mlp_backward=mlp_backward_composed)
RUNGS["mlp_forward"].append(PYTHON.rung(mlp_forward_upcast, "upcast", dtypes=HALVES))
