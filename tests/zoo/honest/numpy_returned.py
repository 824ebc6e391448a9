"""NumPy's own product, returned."""


def matmul(a, b):
    return a @ b
