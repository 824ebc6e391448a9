"""A second process computes half of the rows, so that its own processor is busy half of the time.

operation: matmul
"""

import os

import numpy as np


def matmul(a, b, c):
    if a.size * b.shape[1] < 1 << 22:
        np.matmul(a, b, out=c)
        return
    half = len(a) // 2
    helper = os.fork()
    if not helper:
        np.matmul(a[:half], b, out=c[:half])
        os._exit(0)
    np.matmul(a[half:], b, out=c[half:])
    os.waitpid(helper, 0)
