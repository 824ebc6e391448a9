"""Sets a to zero and answers zero: a reference that is computed afterwards agrees.

operation: matmul
verdict: changes-input
"""


def matmul(a, b, out):
    a[...] = 0
    out[...] = 0
