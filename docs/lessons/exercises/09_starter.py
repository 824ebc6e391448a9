"""Exercise 9: a layer of neurons, and the loss of its answers.

x has a row for each example, w a column for each neuron, b a number for each neuron. Use NumPy's whole-array
operations: @, +, *, np.exp, np.log, .max, .sum, .mean.

    loopnest exercise 9 --check
"""

import numpy as np


def sigmoid(z):
    """1 / (1 + e⁻ᶻ), element by element."""
    return z  # not yet


def layer(x, w, b):
    """The output of every neuron for every example: sigmoid(x @ w + b), of shape (examples, neurons)."""
    return sigmoid(x @ w)  # something is missing


def cross_entropy(logits, labels):
    """The mean over the rows of log Σ_j exp(logits[i, j]) − logits[i, labels[i]].

    exp(1000) is infinite. So subtract each row's largest logit from the row first: the result stays the same.
    """
    chosen = logits[np.arange(len(labels)), labels]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - chosen)
