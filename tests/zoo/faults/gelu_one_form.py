"""The tanh form of GELU, whichever is asked for.

operation: gelu
verdict: option-ignored
"""

import numpy as np

U = np.sqrt(2 / (4 * np.arctan(np.longdouble(1))))


def gelu(x, out, tanh_form):
    with np.errstate(all="ignore"):
        wide = x.astype(np.longdouble)
        # ½x(1 + tanh z) = x / (1 + exp(-2z)), which loses nothing in the tails
        y = wide / (1 + np.exp(-2 * U * (wide + np.longdouble("0.044715") * wide**3)))
        out[...] = np.where(np.isneginf(wide), -0.0, y)
