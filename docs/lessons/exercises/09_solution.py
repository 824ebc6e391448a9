"""Exercise 9, solved."""

import numpy as np


def sigmoid(z):
    """1 / (1 + e⁻ᶻ), by e⁻|ᶻ|, which never overflows."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def layer(x, w, b):
    """sigmoid(x @ w + b)."""
    return sigmoid(x @ w + b)


def cross_entropy(logits, labels):
    """The mean of log Σ exp(l − max) − (l[label] − max)."""
    below = logits - logits.max(axis=1, keepdims=True)
    chosen = below[np.arange(len(labels)), labels]
    return np.mean(np.log(np.sum(np.exp(below), axis=1)) - chosen)
