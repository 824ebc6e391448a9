"""Adds noise to its result, so that no two calls agree.

operation: matmul
verdict: not-deterministic
"""

import numpy as np

noise = np.random.default_rng()


def matmul(a, b, out):
    with np.errstate(invalid="ignore"):
        np.matmul(a, b, out=out)
        out *= (1 + 1e-3 * noise.standard_normal(out.shape)).astype(out.dtype)
