"""Answers zeros.

operation: matmul
verdict: all-zeros
"""


def matmul(a, b, out):
    out[...] = 0
