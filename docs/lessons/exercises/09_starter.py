"""Exercise 9: a layer of neurons, and the loss of its answers.

x holds n examples, a row each; w a column for each neuron; b a number for each neuron. NumPy's whole-array operations
are allowed: @, +, *, np.exp, np.log, .max, .sum, .mean.

    loopnest exercise 9 --check
"""

import numpy as np


def sigmoid(z):
    """1 / (1 + e⁻ᶻ), element by element."""
    return z  # not yet


def layer(x, w, b):
    """What the neurons say to every example: sigmoid(x @ w + b), of shape (examples, neurons)."""
    return sigmoid(x @ w)  # something is missing


def cross_entropy(logits, labels):
    """The mean over the rows of log Σ_j exp(logits[i, j]) − logits[i, labels[i]].

    exp(1000) is infinite. Subtract each row's largest logit from the row first: that changes nothing in the result.
    """
    chosen = logits[np.arange(len(labels)), labels]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - chosen)
