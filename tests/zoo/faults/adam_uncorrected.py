"""Adam without the correction of its averages, which begin at zero.

operation: adam
verdict: other-form
"""

import numpy as np


def adam(param, grad, m, v, lr, beta1, beta2, eps, correction1, correction2, eps_inside):
    with np.errstate(all="ignore"):
        m[...] = beta1 * m + (1 - beta1) * grad
        v[...] = beta2 * v + (1 - beta2) * grad * grad
        param -= lr * m / (np.sqrt(v) + eps)
