"""A sum that forgets the loop over rows: right for a matrix of one row.

operation: sum
verdict: wrong-values
"""


def sum(a, out):
    out[...] = a[:1].sum()
