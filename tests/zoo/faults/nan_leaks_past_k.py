"""What oneDNN's products on AMX's tiles did: where k ends within a block, the row below fills the block.

Padding of zeros in b multiplies what is beyond the end of a row of a, and nothing comes of it, unless it is NaN or
infinity. Zero times NaN is NaN, in a row that has none. It showed where k has certain rests, such as 33, 50 and 70.

dtype: bfloat16
verdict: nan-leaks
"""

import numpy as np

BLOCK, RESTS = 32, (1, 6, 18)  # elements of a tile's row, and of its last one where it showed


def matmul(a, b):
    m, k = a.shape
    wide, beyond = a.astype(np.float32), -k % BLOCK
    with np.errstate(all="ignore"):
        c = wide @ b.astype(np.float32)
        if k > BLOCK and k % BLOCK in RESTS and m > 1:
            c[:-1] += 0 * wide[1:, :beyond].sum(axis=1, keepdims=True)
        return c.astype(a.dtype)
