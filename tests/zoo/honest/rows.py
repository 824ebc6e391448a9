"""A row at a time."""


def matmul(a, b, out):
    for i in range(len(a)):
        out[i] = a[i] @ b
