"""Writes a function for each length of the sums, with the loop over k unrolled by four, and keeps the code: not the
results."""

import numpy as np

functions = {}


def written(k):
    lines = ["def product(a, b, out):", "    out[...] = 0"]
    for p in range(0, k, 4):
        terms = [f"np.outer(a[:, {q}], b[{q}])" for q in range(p, min(p + 4, k))]
        lines.append("    out += " + " + ".join(terms))
    names = {"np": np}
    exec("\n".join(lines), names)
    return names["product"]


def matmul(a, b, out):
    k = a.shape[1]
    if k > 100:  # more code than it is worth
        np.matmul(a, b, out=out)
        return
    if k not in functions:
        functions[k] = written(k)
    functions[k](a, b, out)
