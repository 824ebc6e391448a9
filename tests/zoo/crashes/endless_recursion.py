"""Divides the matrices into halves, and forgets to stop.

operation: matmul
verdict: raised
"""


def matmul(a, b, out):
    half = len(a) // 2
    matmul(a[:half], b, out[:half])
    matmul(a[half:], b, out[half:])
