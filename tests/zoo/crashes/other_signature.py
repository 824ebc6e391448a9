"""The function takes other arguments.

operation: matmul
verdict: wrong-signature
"""


def matmul(a, b, c, m, n, k):
    pass
