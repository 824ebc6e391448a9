"""The MLP in Numba: one operation after the other over whole arrays, then block by block of the hidden layer.

mlp_backward's own docstring derives the gradients.
"""

from collections.abc import Callable

import numpy as np

from ...arrays import HALVES, Array
from ...backends import NUMBA
from ...backends.numba import compiled
from ...backends.threads import share
from ...numerics import rounded_to
from ..gelu.in_numba import gelu_backward_parallel, gelu_of, slope_of
from ..gelu.in_numba import parallel as gelu_parallel
from ..linalg.in_numba import linear_upcast
from ..matmul.in_numba import fill_columns, pieces_and_cols
from ..matmul.in_numba import parallel as matmul_parallel


def mlp_forward_composed(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """matmul, add the bias, gelu, matmul, add the bias: each the fastest rung of its own ladder.

    The products take nearly all of the time. Between them the (t, h) hidden layer passes through memory several times:
    6 MiB at 512 tokens of GPT-2 small's sizes, which no core's own cache holds from one step to the next.
    """
    matmul_parallel(x, w1, z)
    _add_bias(z, b1, 0, b1.size)
    gelu_parallel(z, h, tanh_form)
    matmul_parallel(h, w2, y)
    _add_bias(y, b2, 0, b2.size)


def mlp_forward_fused(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """Bias and gelu inside the product's last pass: a block of z is finished while it is in the cache.

    The hidden layer is cut into blocks of columns. A thread multiplies a block, adds its bias and takes its gelu before
    it fetches the next. So z need not come back from memory, and the threads wait for one another once a layer. This
    saves a tenth or so on two cores at GPT-2 small's sizes, and more if more cores share one memory. The limit is the
    product.
    """

    def hidden(start: int, stop: int) -> None:
        fill_columns(x, w1, z, start, stop)
        _add_bias_and_gelu(z, b1, h, start, stop, tanh_form)

    def output(start: int, stop: int) -> None:
        fill_columns(h, w2, y, start, stop)
        _add_bias(y, b2, start, stop)

    _share_columns(hidden, z, x.shape[1])
    _share_columns(output, y, h.shape[1])


def mlp_forward_upcast(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, z: Array, h: Array, y: Array, tanh_form: bool
) -> None:
    """Reduced precision: linear's upcast leaves float32 sums for GELU; z, h and y are rounded once each."""
    wide, hidden = np.empty(z.shape, np.float32), np.empty(h.shape, np.float32)
    linear_upcast(x, w1, b1, wide)
    gelu_parallel(wide, hidden, tanh_form)
    z[...], h[...] = rounded_to(z.dtype, wide), rounded_to(h.dtype, hidden)
    linear_upcast(h, w2, b2, y)


def mlp_backward_composed(
    dy: Array, x: Array, w1: Array, w2: Array, z: Array, h: Array,
    dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array, tanh_form: bool,
) -> None:  # fmt: skip
    """The chain rule a step at a time: four products, gelu's gradient, and two sums over the tokens.

    The transposed factors are views, which the register-tiled product packs like any other. dh and dz are scratch
    memory of the hidden layer's size. Each crosses memory two or three times between the steps.
    """
    dh, dz = np.empty_like(z, order="C"), np.empty_like(z, order="C")
    matmul_parallel(h.T, dy, dw2)
    _sum_rows(dy, db2)
    matmul_parallel(dy, w2.T, dh)
    gelu_backward_parallel(z, dh, dz, tanh_form)
    matmul_parallel(x.T, dz, dw1)
    _sum_rows(dz, db1)
    matmul_parallel(dz, w1.T, dx)


def mlp_backward_fused(
    dy: Array, x: Array, w1: Array, w2: Array, z: Array, h: Array,
    dx: Array, dw1: Array, db1: Array, dw2: Array, db2: Array, tanh_form: bool,
) -> None:  # fmt: skip
    """Everything that needs a block of the hidden layer, while the block is in the cache.

    A thread takes a block of columns j. It computes dh[:, j] = dy w2[j]ᵀ and turns it into dz[:, j] in place, with the
    sums db1[j] in the same pass; then dw1[:, j] = xᵀ dz[:, j] and dw2[j] = h[:, j]ᵀ dy, which need no other columns.
    Only dx = dz w1ᵀ sums over all columns and must wait. The limit is the products, and for a few tokens the adding up
    of lanes after each short sum.
    """
    dz = np.empty_like(z, order="C")

    def hidden(start: int, stop: int) -> None:
        fill_columns(dy, w2.T, dz, start, stop)
        _scale_by_slope_and_sum(z, dz, db1, start, stop, tanh_form)
        fill_columns(x.T, dz, dw1, start, stop)
        fill_columns(h[:, start:stop].T, dy, dw2[start:stop], 0, dy.shape[1])

    def inputs(start: int, stop: int) -> None:
        fill_columns(dz, w1.T, dx, start, stop)

    _share_columns(hidden, dz, 2 * x.shape[1] + dy.shape[1])
    _share_columns(inputs, dx, w1.shape[1])
    _sum_rows(dy, db2)


def _share_columns(work: Callable[[int, int], None], y: Array, depth: int) -> None:
    """Call work(start, stop) for blocks of y's columns; an element of y takes `depth` multiply-adds."""
    m, n = y.shape
    pieces, cols = pieces_and_cols(m, n, depth, y.itemsize)
    if pieces == 1:
        work(0, n)
    else:
        share(work, n, cols)


@compiled
def _add_bias(y: Array, b: Array, start: int, stop: int) -> None:
    for i in range(y.shape[0]):
        row, bias = y[i, start:stop], b[start:stop]
        for j in range(row.size):
            row[j] += bias[j]


@compiled
def _add_bias_and_gelu(z: Array, b: Array, h: Array, start: int, stop: int, tanh_form: bool) -> None:
    for i in range(z.shape[0]):
        z_row, bias, h_row = z[i, start:stop], b[start:stop], h[i, start:stop]
        for j in range(z_row.size):
            z_row[j] += bias[j]
            h_row[j] = gelu_of(z_row[j], tanh_form)


@compiled
def _scale_by_slope_and_sum(z: Array, dz: Array, sums: Array, start: int, stop: int, tanh_form: bool) -> None:
    """dz *= gelu'(z), and the sums of its columns."""
    total = sums[start:stop]
    for j in range(total.size):
        total[j] = 0
    for i in range(z.shape[0]):
        z_row, dz_row = z[i, start:stop], dz[i, start:stop]
        for j in range(z_row.size):
            dz_row[j] *= slope_of(z_row[j], tanh_form)
            total[j] += dz_row[j]


@compiled
def _sum_rows(x: Array, sums: Array) -> None:
    """The sums of the columns, row by row, so that neighbours are added in vectors."""
    for j in range(sums.size):
        sums[j] = 0
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(row.size):
            sums[j] += row[j]


RUNGS = {
    "mlp_forward": [
        NUMBA.rung(mlp_forward_composed, "composed"),
        NUMBA.rung(mlp_forward_fused, "fused"),
        NUMBA.rung(mlp_forward_upcast, "upcast", dtypes=HALVES, faster_than="python.upcast"),
    ],
    "mlp_backward": [NUMBA.rung(mlp_backward_composed, "composed"), NUMBA.rung(mlp_backward_fused, "fused")],
}
