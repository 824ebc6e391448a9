"""torch's product, on the arrays' own memory; NumPy's where torch takes no such strides."""

import numpy as np
import torch


def matmul(a, b, out):
    if min(*a.strides, *b.strides, *out.strides, 0) < 0 or not out.size:
        np.matmul(a, b, out=out)
        return
    torch.matmul(*(torch.from_numpy(np.require(x, requirements="W")) for x in (a, b)), out=torch.from_numpy(out))
