"""Three loops over Python's lists."""


def matmul(a, b, out):
    rows, columns = a.tolist(), b.T.tolist()
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            out[i, j] = sum(x * y for x, y in zip(row, column, strict=True))
