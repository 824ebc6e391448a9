"""Waits ten seconds before it begins.

operation: matmul
verdict: timed-out
"""

import time

import numpy as np


def matmul(a, b, out):
    time.sleep(10)
    np.matmul(a, b, out=out)
