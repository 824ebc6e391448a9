"""Rounding errors: what the contracts' error bounds are made of."""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .arrays import FLOATS, HALVES, Array


def precise(x: Array) -> Array:
    """`x` in a precision in which its own dtype's rounding errors are visible: float64 for 4 bytes or less, else
    longdouble."""
    return x.astype(np.float64 if x.dtype.itemsize <= 4 else np.longdouble)


def magnitude(x: Array) -> Array:
    """|x| in float64, for bounds: they need no more digits, and products of long doubles take long."""
    return np.abs(x.astype(np.float64))


SLICEABLE = 1 << 16  # Products of fewer terms are as quick in long doubles


def product(a: Array, b: Array) -> Array:
    """a @ b of two `precise` arrays, as precise.

    Long doubles have no BLAS. Large products of them are sums of products of slices, which are exact in float64 or far
    below the result (Ozaki et al., Numerical Algorithms 59, 2012), in a fifth of the time.
    """
    bits = (53 - max(1, a.shape[-1]).bit_length()) // 2  # of a slice: a sum of k products of slices is exact
    small = math.prod(a.shape) * b.shape[-1] < SLICEABLE
    if a.dtype == np.float64 or small or not (_sliceable(a, bits) and _sliceable(b, bits)):
        return np.asarray(a @ b)
    slices = _slices(a, -1, bits), _slices(b, -2, bits)
    total = np.zeros((a[..., :1] @ b[..., :1, :]).shape, np.longdouble)
    for i, j in sorted(np.ndindex(3, 3), key=sum, reverse=True):  # the smallest terms first
        if i + j < 4:
            total += slices[0][i] @ slices[1][j]
    return total


def _sliceable(x: Array, bits: int) -> bool:
    """Whether elements differ by so few orders of magnitude that roundings of their third slices do not count."""
    sizes = np.abs(x[x != 0])
    if not sizes.size or not np.isfinite(sizes).all():
        return False
    low, high = np.frexp(sizes.min())[1], np.frexp(sizes.max())[1]
    return bool(high - low <= 2 * bits - 12 and -300 < low <= high < 300)


def _slices(x: Array, axis: int, bits: int) -> list[Array]:
    """Three arrays of float64 whose sum is x: of each row, or column, the first bits, the next ones, and the rest."""
    found, (_, exponent) = [], np.frexp(np.max(np.abs(x), axis=axis, keepdims=True))
    for part in (1, 2):
        shift = part * bits - exponent
        found.append(np.ldexp(np.rint(np.ldexp(x, shift)), -shift))
        x = x - found[-1]
    return [part.astype(np.float64) for part in (*found, x)]


def sums_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype in which products of elements of this dtype are summed."""
    own: np.dtype[Any] = np.dtype(dtype)
    return np.dtype(np.int32) if own == np.int8 else np.dtype(np.float32) if own.itemsize == 2 else own


def is_float(dtype: Any) -> bool:
    """Whether a dtype holds floats, bfloat16 and float16 too."""
    return dtype in FLOATS or np.dtype(dtype).name in HALVES


def scaled(sums: Array, *scales: Array) -> Array:
    """Exact sums of bytes as float32, times the scales of their rows and of their columns, if there are any."""
    wide = rounded_to(np.float32, rounded_to(np.int32, sums)) if scales else sums
    with np.errstate(all="ignore"):
        for scale, axis in zip(scales, (1, 0), strict=False):
            wide = wide * np.expand_dims(scale, axis)
    return wide


def _finfo(dtype: Any) -> Any:
    if np.dtype(dtype).kind != "V":
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def largest(dtype: Any) -> float:
    """The largest finite number."""
    return float((np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else _finfo(dtype)).max)


def rounded_to(dtype: Any, x: Array) -> Array:
    """`x` rounded to a float dtype, without warnings; integers of any length wrap to an integer dtype."""
    with np.errstate(all="ignore"):
        return x.astype(np.int64).astype(dtype) if np.dtype(dtype).kind == "i" else x.astype(dtype)


def unit_roundoff(dtype: Any) -> float:
    """u: the largest relative error of one rounding, half the distance from 1 to the next number."""
    return float(_finfo(dtype).eps) / 2


def gamma(k: float, dtype: Any) -> float:
    """γ_k = k·u / (1 - k·u): bounds the relative error of k roundings in a row, and so of a sum of products of length
    k, in whatever order it is summed (Higham, Accuracy and Stability of Numerical Algorithms, §3.1 and §3.5).

    γ_k holds for k·u < 1 alone. For a float32 sum of 2^23 terms and more it is (1 + u)^k - 1, which bounds k factors
    1 + δ for every k."""
    u = unit_roundoff(dtype)
    if _likely.get():
        k = min(k, LIKELY * math.sqrt(k))
    ku = k * u
    return ku / (1 - ku) if ku < 0.5 else math.expm1(k * math.log1p(u))


def sum_bound(k: float, magnitudes: Any, dtype: Any) -> Any:
    """γ_k times the sums of the terms' magnitudes; infinite where such a sum is beyond the dtype's largest number:
    there a sum on the way overflows in some order, and the result may be infinite or NaN."""
    with np.errstate(all="ignore"):
        relative = gamma(k, dtype)
        return np.where(magnitudes * (1 + relative) > largest(dtype), np.inf, relative * magnitudes)


def flushed(a: Array, b: Array) -> Any:
    """How far a b may be off since instructions for bfloat16 read numbers below 2^-126 as zero, and make none:
    2^-126 · (k + Σ_p |a[…, p]| + Σ_p |b[p, …]|); 0 for float32 and float64."""
    if a.dtype in FLOATS:
        return 0.0
    sums = magnitude(a).sum(-1)[..., None] + magnitude(b).sum(-2)[..., None, :]
    return 2.0**-126 * (a.shape[-1] + sums)


def rounded_once(dtype: Any, exact: Array, error: Any) -> Any:
    """The bound on a number within `error` of the exact one that is then rounded to a dtype of 16 bits; `error` itself
    for float32 and float64."""
    if dtype in FLOATS:
        return error
    return error + unit_roundoff(dtype) * (np.abs(exact) + error) + smallest(dtype)


@contextlib.contextmanager
def likely_errors() -> Iterator[None]:
    """Inside, γ_k is 8 √k u if that is less: k independent roundings nearly always stay below it (Higham and Mary, SIAM
    J. Sci. Comput. 41, 2019). The worst case would let half of a million terms be missing."""
    token = _likely.set(True)
    try:
        yield
    finally:
        _likely.reset(token)


LIKELY = 8
_likely = contextvars.ContextVar("likely", default=False)


def smallest(dtype: Any) -> float:
    """The smallest subnormal number: the error of an underflow is half of it or less."""
    return float(_finfo(dtype).smallest_subnormal)


def strassen_bound(n: int, cutoff: int) -> float:
    """f, of |c - exact| <= f · u · max|a| · max|b| for Strassen's algorithm that multiplies blocks of `cutoff` and less
    in the ordinary way: (n/n₀)^{log₂ 12} (n₀² + 5 n₀) - 5 n, Higham, Accuracy and Stability of Numerical Algorithms,
    (23.14).

    >>> round(strassen_bound(128, 64))   # one level
    52352
    """
    levels = max(0, math.ceil(math.log2(n / cutoff)))
    return float(12**levels * (cutoff**2 + 5 * cutoff) - 5 * n)
