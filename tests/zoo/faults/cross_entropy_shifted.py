"""Takes labels to begin at one.

operation: cross_entropy
verdict: wrong-values
"""

import numpy as np


def cross_entropy(logits, labels, out):
    with np.errstate(over="ignore", invalid="ignore"):
        top = logits.max(axis=1, keepdims=True)
        logs = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
        out[...] = (logs - logits[np.arange(len(labels)), labels - 1]).mean()
