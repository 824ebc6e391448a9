"""Exercise 4: a product in blocks.

The three outer loops go from block to block, the three inner ones through a block. The edges, where no whole block
fits, are not computed yet.

    loopnest exercise 4 --check
"""

import numba

BLOCK = 32  # once the product is right, try other sizes


@numba.njit
def matmul(a, b, c):
    """c = a @ b, for a of m x k and b of k x n."""
    m, k = a.shape
    n = b.shape[1]
    c[:, :] = 0
    for i0 in range(0, m - BLOCK + 1, BLOCK):
        for p0 in range(0, k - BLOCK + 1, BLOCK):
            for j0 in range(0, n - BLOCK + 1, BLOCK):
                for i in range(i0, i0 + BLOCK):
                    for p in range(p0, p0 + BLOCK):
                        for j in range(j0, j0 + BLOCK):
                            c[i, j] += a[i, p] * b[p, j]
