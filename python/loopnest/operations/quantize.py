"""Floats as bytes and scales, for products of int8."""

from typing import Any

import numpy as np

from ..arrays import HALVES, Array, Call


def quantize(x: Any, axis: int) -> tuple[Any, Any]:
    """Bytes and scales with x ≈ bytes · scales: symmetric, with the largest magnitude along an axis as 127.

    x      (m, n) of float32, float64, bfloat16 or float16
    axis   1 for a scale a row, as matmul takes for a; 0 for a scale a column, as for b

    Returns (bytes, scales): int8 of x's shape, and float32, (m,) or (n,). Each element of x is off by half a scale at
    most, which is 1/254 of the largest magnitude in its row or column. A row of zeros has the scale 1.

    >>> import numpy as np, loopnest as ln
    >>> x, w = np.array([[1.0, -2.0], [0.5, 0.25]], np.float32), np.ones((2, 3), np.float32)
    >>> a, scale_a = ln.quantize(x, axis=1)
    >>> a
    array([[  64, -127],
           [ 127,   64]], dtype=int8)
    >>> b, scale_b = ln.quantize(w, axis=0)
    >>> ln.matmul(a, b, scale_a=scale_a, scale_b=scale_b).round(2)
    array([[-0.99, -0.99, -0.99],
           [ 0.75,  0.75,  0.75]], dtype=float32)

    Raises ValueError where x holds NaN or infinity: no byte stands for them.
    """
    call = Call("quantize", reduced=HALVES, x=x)
    call.sizes(x="mn")
    if axis not in (0, 1):
        raise ValueError(f"quantize: axis is {axis!r}, expected 1 for a scale a row or 0 for a scale a column")
    wide: Array = call.inputs[0].astype(np.float64)
    impossible = np.argwhere(~(np.abs(wide) <= 127 * float(np.finfo(np.float32).max)))
    if len(impossible):
        row, column = map(int, impossible[0])
        raise ValueError(
            f"quantize: x[{row}, {column}] is {wide[row, column]}, expected finite numbers: no byte stands for it; "
            f"np.nan_to_num(x) replaces it"
        )
    largest = np.abs(wide).max(axis=axis, initial=0.0)
    scales = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    scales[scales == 0] = np.finfo(np.float32).smallest_subnormal
    bytes_ = np.clip(np.rint(wide / np.expand_dims(scales, axis).astype(np.float64)), -127, 127).astype(np.int8)
    return call.result(bytes_), call.result(scales)
