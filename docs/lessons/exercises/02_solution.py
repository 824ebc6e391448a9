"""Exercise 2, solved. Elements that do not change in the innermost loop are read before it."""


def ijk(a, b, c):
    for i in range(len(a)):
        for j in range(len(b[0])):
            total = 0.0
            for p in range(len(b)):
                total += a[i][p] * b[p][j]
            c[i][j] += total


def ikj(a, b, c):
    for i in range(len(a)):
        row = c[i]
        for p in range(len(b)):
            factor, b_row = a[i][p], b[p]
            for j in range(len(b_row)):
                row[j] += factor * b_row[j]


def jik(a, b, c):
    for j in range(len(b[0])):
        for i in range(len(a)):
            total = 0.0
            for p in range(len(b)):
                total += a[i][p] * b[p][j]
            c[i][j] += total


def jki(a, b, c):
    for j in range(len(b[0])):
        for p in range(len(b)):
            factor = b[p][j]
            for i in range(len(a)):
                c[i][j] += a[i][p] * factor


def kij(a, b, c):
    for p in range(len(b)):
        b_row = b[p]
        for i in range(len(a)):
            factor, row = a[i][p], c[i]
            for j in range(len(b_row)):
                row[j] += factor * b_row[j]


def kji(a, b, c):
    for p in range(len(b)):
        for j in range(len(b[0])):
            factor = b[p][j]
            for i in range(len(a)):
                c[i][j] += a[i][p] * factor
