"""Exercise 11, solved."""

import numpy as np


def adam(param, grad, m, v, step, lr, beta1, beta2, eps):
    """One step, in place."""
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad * grad
    corrected_m = m / (1 - beta1**step)
    corrected_v = v / (1 - beta2**step)
    param -= lr * corrected_m / (np.sqrt(corrected_v) + eps)
