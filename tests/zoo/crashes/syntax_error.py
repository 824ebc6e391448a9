"""A colon is missing.

operation: matmul
verdict: does-not-build
"""

def matmul(a, b, out)
    out[...] = a @ b
