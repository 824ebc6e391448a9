"""Halves the products' vector again and again, adding one half to the other: a tree of sums.

operation: dot
"""


def dot(x, y):
    terms = x * y
    while len(terms) > 1:
        if len(terms) % 2:
            terms[0] += terms[-1]
        half = len(terms) // 2
        terms = terms[:half] + terms[half : 2 * half]
    return terms.sum()
