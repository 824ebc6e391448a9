"""Rounding errors: what the contracts' error bounds are made of."""

import math
from typing import Any

import numpy as np

from .arrays import Array


def precise(x: Array) -> Array:
    """`x` in a precision in which its own dtype's rounding errors are visible: float64 for float32, else longdouble."""
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def unit_roundoff(dtype: Any) -> float:
    """u: the largest relative error of one rounding, half the distance from 1 to the next number."""
    return float(np.finfo(dtype).eps) / 2


def gamma(k: int, dtype: Any) -> float:
    """γ_k = k·u / (1 - k·u): bounds the relative error of k roundings in a row, and so of a sum of products of length
    k, in whatever order it is summed (Higham, Accuracy and Stability of Numerical Algorithms, §3.1 and §3.5).

    γ_k holds for k·u < 1 alone. For a float32 sum of 2^23 terms and more it is (1 + u)^k - 1, which bounds k factors
    1 + δ for every k."""
    u = unit_roundoff(dtype)
    ku = k * u
    return ku / (1 - ku) if ku < 0.5 else math.expm1(k * math.log1p(u))


def smallest(dtype: Any) -> float:
    """The smallest subnormal number: the error of an underflow is half of it or less."""
    return float(np.finfo(dtype).smallest_subnormal)


def strassen_bound(n: int, cutoff: int) -> float:
    """f, of |c - exact| <= f · u · max|a| · max|b| for Strassen's algorithm that multiplies blocks of `cutoff` and less
    in the ordinary way: (n/n₀)^{log₂ 12} (n₀² + 5 n₀) - 5 n, Higham, Accuracy and Stability of Numerical Algorithms,
    (23.14).

    >>> round(strassen_bound(128, 64))   # one level
    52352
    """
    levels = max(0, math.ceil(math.log2(n / cutoff)))
    return float(12**levels * (cutoff**2 + 5 * cutoff) - 5 * n)
