"""Exercise 12, solved."""

import math

import loopnest as ln


def attention(q, k, v):
    """softmax(q kᵀ / √d) v. It scales q, which has fewer elements than the scores if there are many tokens."""
    scores = ln.matmul(q * q.dtype.type(1 / math.sqrt(q.shape[1])), k.T)
    return ln.matmul(ln.softmax(scores), v)
