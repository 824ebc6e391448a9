"""Exercise 2: one product, six orders of its loops.

a, b and c are lists of rows: a is m x k, b is k x n, and c is m x n and holds zeros. Each function adds the product of
a and b to c, element by element, and returns nothing. Its name says which loop is outside and which inside: in `ikj`, i
is the outermost loop and j the innermost. i is a row of a, j a column of b, and p (k in the name) the index of the sum.

The check records in which order you touch the elements.

    loopnest exercise 2 --check
"""


def ijk(a, b, c):
    for i in range(len(a)):
        for j in range(len(b[0])):
            for p in range(len(b)):
                c[i][j] += a[i][p] * b[p][j]


def ikj(a, b, c):
    ijk(a, b, c)  # the right sums in the wrong order: write the loops as i, p, j


def jik(a, b, c):
    ijk(a, b, c)


def jki(a, b, c):
    ijk(a, b, c)


def kij(a, b, c):
    ijk(a, b, c)


def kji(a, b, c):
    ijk(a, b, c)
