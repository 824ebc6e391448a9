"""The sum over k in two halves, and each of them in halves again: the rounding errors of a tree."""


def matmul(a, b, out):
    k = a.shape[1]
    if k <= 64:
        out[...] = a @ b
        return
    matmul(a[:, : k // 2], b[: k // 2], out)
    rest = a[:, k // 2 :] @ b[k // 2 :]
    out += rest
